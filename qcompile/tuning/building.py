"""Candidates built in worker processes: TVM is slow to load, and may end the process it runs in.

    with Builders(target, workers=1, cores=share_cores(1).building) as builders:
        kernels = builders.build([Job(function, decisions), ...])

gives an object file or a failure for each job, in order.
"""

import itertools
import queue
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from qcompile.targets import Target
from qcompile.tuning.outcomes import Failure
from qcompile.tuning.worker_process import Built, Job, Order, WorkerProcess

REPLAN = "qcompile.passes.replan:replan"
LIMIT_S = 60.0


class Builders:
    """Worker processes that stay, and end with their parent. One `build` at a time."""

    def __init__(
        self,
        target: Target,
        workers: int,
        cores: Iterable[int] = (),
        *,
        prepare: str = REPLAN,
        limit_s: float = LIMIT_S,
    ) -> None:
        """`cores`: those that the workers run on, all by default."""
        assert workers >= 1
        self._folder = tempfile.TemporaryDirectory(prefix="qcompile-")
        order = Order(target, prepare, tuple(cores), self._folder.name)
        self._limit_s = limit_s
        self._numbers = itertools.count()
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        # Linux ends a worker with the thread that started it, so these threads stay.
        self._threads = ThreadPoolExecutor(workers)
        self._workers = [WorkerProcess(order) for _ in range(workers)]
        for worker in self._workers:
            self._threads.submit(self._start, worker)

    def build(self, jobs: Sequence[Job]) -> list[Built | Failure]:
        """What became of each job."""
        return list(self._threads.map(self._build, jobs))

    def close(self) -> None:
        """End the workers; what is still being built fails."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.close()
        self._threads.shutdown()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, worker: WorkerProcess) -> None:
        worker.start()
        self._idle.put(worker)

    def _build(self, job: Job) -> Built | Failure:
        worker = self._idle.get()
        try:
            return worker.build(job, f"k{next(self._numbers)}", self._limit_s)
        finally:
            self._idle.put(worker)
