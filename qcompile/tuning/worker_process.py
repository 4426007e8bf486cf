"""A process that builds, watched from outside: TVM may end it, or never come to an end."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from qcompile.targets import Target
from qcompile.tuning.outcomes import Failure

MODULE = "qcompile.tuning.build_worker"
START_LIMIT_S = 180.0  # to load TVM on a machine that does something else
END_LIMIT_S = 10.0  # for a process to end that has closed its connection


@dataclass(frozen=True)
class Job:
    """A candidate: a function that is not yet scheduled, as TVM's JSON, and its decisions.

    decisions None: the function is scheduled as it is.
    """

    function: str
    decisions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Built:
    """The object file of a candidate, and the C code that calls it.

    prototypes, calls: of its phases, as `shared_calls` has them; extents: iterations of each, of
    which threads take parts. operand_bytes: of the parameters, then of the memory that threads
    share; thread_bytes: of each thread's own. dtypes: NumPy's names, of the parameters.
    """

    symbol: str
    content: bytes
    prototypes: tuple[str, ...]
    calls: tuple[str, ...]
    extents: tuple[int, ...]
    operand_bytes: tuple[int, ...]
    dtypes: tuple[str, ...]
    thread_bytes: int = 0


@dataclass(frozen=True)
class Order:
    """What a worker is told when it starts.

    prepare: "module:function", of (function, decisions, target), that makes the function of other
    decisions; folder: for files, which the parent removes.
    """

    target: Target
    prepare: str
    cores: tuple[int, ...]
    folder: str


class WorkerProcess:
    """A process that builds, and the next one when it ends."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._closed = self._loaded = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (as long as this object)

    def start(self) -> None:
        """Start a process in the place of the one before, unless `close` was called."""
        with self._lock:
            self._end()
            if self._closed:
                return
            self._messages.seek(0)
            self._messages.truncate()
            self._connection, other = Pipe()
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", MODULE, str(other.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=self._messages,
                    stderr=self._messages,
                    pass_fds=[other.fileno()],
                )
            self._loaded = False

    def build(self, job: Job, symbol: str, limit_s: float) -> Built | Failure:
        """What the process answers; a new one is started when it has ended, or must be."""
        try:
            if not self._loaded:
                self._expect_answer(START_LIMIT_S, self._order)
                self._loaded = True
            return self._expect_answer(limit_s, (job, symbol))
        except TimeoutError as error:
            failure = Failure("build timeout", str(error))
        except (EOFError, OSError):
            failure = Failure("build", self._last_words())
        self.start()
        return failure

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._end()

    def _expect_answer(self, limit_s: float, question: Any) -> Any:
        connection = self._connection
        assert connection is not None
        connection.send(question)
        if not connection.poll(limit_s):
            raise TimeoutError(f"not built within {limit_s:.0f} s")
        return connection.recv()

    def _last_words(self) -> str:
        """How the process ended, and the last that it said."""
        process = self._process
        assert process is not None
        try:
            code = process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return "the process that builds closed its connection"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        told = f": {lines[-1].strip()[:300]}" if lines else ""
        return f"the process that builds ended with {how}{told}"

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
