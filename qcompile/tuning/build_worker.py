"""The process of a worker of `Builders`: an object file for each job, or why there is none."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from qcompile.tuning.outcomes import Failure
from qcompile.tuning.worker_process import Built, Job, Order

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
MESSAGE_LENGTH = 300


def main() -> None:
    """Answer the order with None, then each job, until the connection ends."""
    descriptor, parent = map(int, sys.argv[1:])
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        return  # it ended before the line above
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = Connection(descriptor)
    try:
        _serve(connection, connection.recv())
    except EOFError:
        return


def _serve(connection: Connection, order: Order) -> None:
    if order.cores:
        os.sched_setaffinity(0, order.cores)
    from qcompile.schedules import register_scalars

    register_scalars()
    module, _, name = order.prepare.partition(":")
    prepare = getattr(import_module(module), name)
    connection.send(None)
    while True:
        job, symbol = connection.recv()
        try:
            connection.send(_build(job, symbol, order, prepare))
        except Exception as error:  # TVM raises whatever comes; the other candidates go on
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            told = f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
            connection.send(Failure("build", told[:MESSAGE_LENGTH]))


def _build(job: Job, symbol: str, order: Order, prepare: Callable[..., Any]) -> Built:
    import tvm

    from qcompile.export.lower import lower, plain
    from qcompile.export.objects import write_object
    from qcompile.export.phases import split_phases
    from qcompile.measure.clock import operand_bytes, shared_calls, thread_offsets
    from qcompile.schedules import schedule

    target = order.target
    function = tvm.ir.load_json(job.function)
    if job.decisions is not None:
        function = prepare(function, dict(job.decisions), target)
    function = plain(schedule(function, target))
    llvm = target.tvm_target()
    kernel = split_phases(lower(function, llvm), symbol)
    path = Path(order.folder) / f"{symbol}.o"
    write_object(kernel.phases, llvm, path)
    content = path.read_bytes()
    path.unlink()
    prototypes, calls = shared_calls(kernel)
    sizes = operand_bytes(function, kernel)
    shared = len(sizes) - len(kernel.thread_bytes)
    parameters = shared - len(kernel.scratch_bytes)
    return Built(
        symbol=symbol,
        content=content,
        prototypes=tuple(prototypes),
        calls=tuple(calls),
        extents=tuple(phase.extent for phase in kernel.phases),
        operand_bytes=tuple(sizes[:shared]),
        dtypes=tuple(str(p.ty.dtype.dtype) for p in function.params[:parameters]),
        thread_bytes=thread_offsets(kernel)[-1],
    )


if __name__ == "__main__":
    main()
