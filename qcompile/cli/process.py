"""Run a command in a child process and turn every end it can take into an exit code.

A crash of LLVM or TVM ends the child, never the command line: the parent reports it in one
message with exit code 1. What C++ code prints to the standard error is kept aside and shown only
with QCOMPILE_DEBUG=1, together with Python's tracebacks.
"""

import ctypes
import gc
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import BinaryIO

DONE, FAULT, INTERRUPTED = 0, 1, 130
POLL_S = 0.01  # between two looks at the child
ROOM_BYTES = 2**16  # a disk with less is full
STOPS = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.05  # until an interrupt that something dropped comes back
BROKEN_PIPE = 128 + signal.SIGPIPE
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

HINTS: dict[int, str] = {
    signal.SIGKILL: "it was killed, most likely because memory ran out",
    signal.SIGILL: "it used an instruction that this processor lacks",
}


def run_in_child(work: Callable[[], None]) -> int:
    """The exit code of `work`, run in a forked child."""
    sys.stdout.flush()
    sys.stderr.flush()
    debug = os.environ.get("QCOMPILE_DEBUG", "0") not in ("", "0")
    with tempfile.TemporaryFile() as noise, mmap.mmap(-1, 1) as ended:
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until both processes have handlers
        child = os.fork()
        if child == 0:
            gc.freeze()  # else it may finalize what waits for threads that only the parent has
            code = FAULT
            try:
                code = _child(work, None if debug else noise, parent)
                ended[0] = 1
            finally:
                # Not sys.exit: what TVM and other libraries do at exit may crash.
                os._exit(code)
        return _wait(child, noise, ended)


def _child(work: Callable[[], None], noise: BinaryIO | None, parent: int) -> int:
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        return FAULT
    for kind in STOPS:
        signal.signal(kind, _interrupt_once)
    _limit_memory()
    if noise is not None:
        # Python's own messages keep going to the terminal; C++ and tools write aside.
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        os.dup2(noise.fileno(), 2)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        work()
        sys.stdout.flush()
        return DONE
    except BaseException as error:
        return _report(error, debug=noise is None)


def _interrupt_once(signum: int, frame: object) -> None:
    """Unwind once; a second signal must not cut the clean-up short."""
    for kind in STOPS:
        signal.signal(kind, signal.SIG_IGN)
    sys.unraisablehook = _drop_interrupts
    signal.signal(signal.SIGALRM, _interrupt_again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    raise KeyboardInterrupt


def _interrupt_again(signum: int, frame: object) -> None:
    """Unwind again where nothing is being cleaned up.

    Python drops what a finalizer raises; TVM's FoldConstant drops what a kernel's build raises.
    """
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt


def _drop_interrupts(dropped: "sys.UnraisableHookArgs") -> None:
    """Say nothing of interrupts that Python drops: they come back."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)


def _limit_memory() -> None:
    """A hostile model gets a MemoryError rather than all memory of the machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = total if most == resource.RLIM_INFINITY else min(total, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _report(error: BaseException, debug: bool) -> int:
    """Say in one message what ended the command; the exit code."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(BROKEN_PIPE)
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say("interrupted")
        return INTERRUPTED
    _say(_message(error))
    return getattr(error, "exit_code", FAULT)


def _message(error: BaseException) -> str:
    from qcompile.errors import QCompileError

    if isinstance(error, QCompileError):
        return str(error)
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return f"out of memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    first = next(iter(str(error).strip().splitlines()), "")
    return (
        f"internal error: {type(error).__name__}: {first[:500]} "
        "(QCOMPILE_DEBUG=1 shows where; please report it)"
    )


def _say(message: str) -> None:
    from qcompile.cli.tables import printable

    print(f"qcompile: {printable(message)}", file=sys.stderr, flush=True)


def _wait(child: int, noise: BinaryIO, ended: mmap.mmap) -> int:
    """Wait for the child's end, handing signals on; a second Ctrl-C kills it.

    `ended` holds 1 when the child chose its exit code: LLVM calls exit(1) on what it cannot do.
    """
    seen: list[int] = []

    def hand_on(signum: int, frame: object) -> None:
        os.kill(child, signal.SIGKILL if seen else signum)
        seen.append(signum)

    before = {kind: signal.signal(kind, hand_on) for kind in STOPS}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    try:
        # Not one long wait: a signal just before it would be handled only after it.
        while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
            time.sleep(POLL_S)
        status = found[1]
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    code = os.waitstatus_to_exitcode(status)
    if ended[0]:
        return code
    if seen:
        return INTERRUPTED
    return _report_crash(code, noise)


def _report_crash(code: int, noise: BinaryIO) -> int:
    noise.seek(0)
    lines = noise.read().decode(errors="replace").splitlines()
    told = [line for line in lines if "LLVM ERROR" in line or "what():" in line]
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    hint = HINTS.get(-code, "a crash inside the compiler; please report it")
    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM_BYTES:
        hint = f"the disk of {tempfile.gettempdir()} is full"
    _say(f"the work ended with {name}: {told[-1].strip()[:500] if told else hint}")
    return FAULT
