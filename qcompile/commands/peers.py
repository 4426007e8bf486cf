"""Other frameworks as contenders: each in a worker process, stopped while another one runs.

Pools of threads spin for a while after their work: a worker that merely waits would take the
processor from the one being measured.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcompile.arrays import TensorSpec
from qcompile.errors import MissingPackage, QCompileError

WORKER = "qcompile.commands.peer_worker"


class PeerFailed(QCompileError):
    """A peer framework refused the model or died."""


class Peer:
    """One framework with one model, in a process of its own."""

    def __init__(
        self,
        name: str,
        model: str | Path,
        threads: int,
        inputs: Sequence[TensorSpec],
        worker: Sequence[str] = (sys.executable, "-P", "-m", WORKER),
    ) -> None:
        """Start the worker and load the model.

        Raises MissingPackage when the framework is not installed, PeerFailed when it refuses.
        """
        self.name = name
        self.messages = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        self.process = subprocess.Popen(
            worker,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
        )
        specs = [{"name": i.name, "dtype": i.dtype, "shape": i.shape} for i in inputs]
        try:
            self.version = self._ask(
                {"framework": name, "model": str(model), "threads": threads, "inputs": specs}
            )["version"]
        except BaseException:
            self.close()
            raise

    def block(self, inferences: int) -> list[float]:
        """The seconds of so many inferences; the process is stopped before and after."""
        return [float(s) for s in self._ask({"inferences": inferences})["seconds"]]

    def close(self) -> None:
        """End the process, stopped or not."""
        self.process.kill()
        self.process.communicate()
        self.messages.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        os.kill(self.process.pid, signal.SIGCONT)
        try:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it died: the empty answer below tells
        line = stdout.readline()
        if not line:
            raise PeerFailed(f"{self.name}: its process ended: {self._last_message()}")
        os.kill(self.process.pid, signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise MissingPackage(
                f"{self.name}: {answer['missing']} is not installed: pip install 'qcompile[bench]'"
            )
        if "error" in answer:
            raise PeerFailed(f"{self.name}: {answer['error']}")
        return answer

    def _last_message(self) -> str:
        self.process.wait()
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        return told[-1][:500] if told else f"exit code {self.process.returncode}"
