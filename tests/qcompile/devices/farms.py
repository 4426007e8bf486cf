"""Boards that run TVM's RPC server, on this machine, with a tracker of the test's own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boards import expect_listening, free_port
from tvm import rpc


class Farm:
    """A tracker, and servers whose key is `board`."""

    def __init__(self, folder: Path, servers: int = 1) -> None:
        self.folder, self.port, self.started = folder, free_port(), []
        place = f"127.0.0.1:{self.port}"
        self.address = f"rpc://{place}"
        self._start("rpc_tracker", self.port)
        expect_listening(self.port)
        for _ in range(servers):
            self._start("rpc_server", free_port(), "--tracker", place, "--key", "board")
        self._expect_boards(servers)

    def unplug(self) -> None:
        """End the tracker and the server with all that it serves."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _expect_boards(self, count: int, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        tracker = rpc.connect_tracker("127.0.0.1", self.port)
        while tracker.summary()["queue_info"].get("board", {}).get("free", 0) < count:
            if time.monotonic() > end:
                pytest.fail((self.folder / "rpc_server.log").read_text())
            time.sleep(0.1)

    def _start(self, module: str, port: int, *options: str) -> None:
        place = ("--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1))
        with (self.folder / f"{module}.log").open("a") as log:
            self.started.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"tvm.exec.{module}", *place, *options],
                    start_new_session=True,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                )
            )
