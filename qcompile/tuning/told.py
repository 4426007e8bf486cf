"""What a program of candidates says, line by line, and what follows from it."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qcompile.devices.device import Device, Finished
from qcompile.devices.preflight import expect_success
from qcompile.errors import DeviceError
from qcompile.tuning.batch import Batch
from qcompile.tuning.batch_program import Program
from qcompile.tuning.outcomes import Failure

PROGRAM, OPERANDS = "batch", "operands"
KILLED = 128  # and the signal: the exit code of a program that it ended
# Signals that code raises itself; others come from users and from systems without memory.
OWN = (
    *(signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE),
    *(signal.SIGSEGV, signal.SIGSYS, signal.SIGALRM),
)


@dataclass
class Told:
    """What runs of a program said. running: the candidate that the last one began with last.

    sums: of the outputs; near: the largest difference from the reference's, and the largest of
    those; samples: seconds of a call.
    """

    running: int | None = None
    ended: bool = False
    sums: dict[int, str] = field(default_factory=dict)
    near: dict[int, tuple[float, float]] = field(default_factory=dict)
    samples: dict[int, list[float]] = field(default_factory=dict)

    def read(self, output: str) -> None:
        """Take in what one run said, as far as its lines are whole."""
        self.running, self.ended = None, False
        whole, _, _ = output.rpartition("\n")
        for line in whole.splitlines():
            match line.split():
                case ["run", number]:
                    self.running = int(number)
                case ["sum", number, found]:
                    self.sums[int(number)] = found
                case ["near", number, difference, largest]:
                    self.near[int(number)] = float(difference), float(largest)
                case ["sample", number, calls, nanoseconds]:
                    each = int(nanoseconds) * 1e-9 / int(calls)
                    self.samples.setdefault(int(number), []).append(each)
                case ["end"]:
                    self.ended = True
                case _:
                    raise DeviceError(f"the program that measures said {line.strip()!r}")

    def wrong(self, number: int, tolerance: float) -> Failure | None:
        """Why the output of a candidate is not the reference's, if so."""
        if self.sums[number] == self.sums[0]:
            return None
        difference, largest = self.near.get(number, (float("inf"), 0.0))
        if difference <= tolerance * largest:
            return None
        apart = f", up to {difference:.3g} of {largest:.3g} apart" if number in self.near else ""
        return Failure("wrong result", f"its output is not that of the untuned kernel{apart}")


def run_program(
    device: Device,
    program: Program,
    batch: Batch,
    numbers: Iterable[int],
    mode: str,
    options: Sequence[str],
    limit_s: int,
) -> tuple[Told, dict[int, Failure]]:
    """What the program tells of the reference and the candidates, and which of them failed.

    It runs again without a candidate that ends it. Raises DeviceError when it does not run at all.
    """
    device.send(PROGRAM, program.executable, executable=True)
    device.send(OPERANDS, program.operands)
    told, failures, chosen = Told(), dict(program.failures), [0, *numbers]
    while True:
        left = [number for number in chosen if number not in failures]
        words = [mode, OPERANDS, str(limit_s), *options, *map(str, left)]
        done = device.run(PROGRAM, *words)
        told.read(done.output)
        if told.ended and done.code == 0:
            break
        number = told.running
        if number is None or done.code - KILLED not in OWN:
            expect_success(f"{device.name}: candidates", done)
            raise DeviceError(f"{device.name}: candidates: the program did not end")
        failures[number] = _ended(done, limit_s)
        if number == 0:
            return told, failures
    wrong = {n: told.wrong(n, batch.tolerance) for n in chosen if n not in failures}
    return told, failures | {n: failure for n, failure in wrong.items() if failure is not None}


def _ended(done: Finished, limit_s: int) -> Failure:
    """Why a candidate did not come to its end."""
    raised = signal.Signals(done.code - KILLED)
    if raised == signal.SIGALRM:
        return Failure("timeout", f"it ran for more than {limit_s} s")
    return Failure("crash", raised.name)
