"""A small kernel that shows whether a device can run what will be measured on it."""

import tempfile
from pathlib import Path

import numpy as np

from qcompile.errors import DeviceError
from qcompile.export.toolchain import Toolchain
from qcompile.targets.architecture import Architecture
from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.batch_program import Program, make_program
from qcompile.tuning.outcomes import Failure
from qcompile.tuning.stations import Station
from qcompile.tuning.worker_process import Built

SYMBOL, BYTES = "trial", 1024
SOURCE = """
int trial_p0(const unsigned char *x, unsigned char *y, int begin, int end) {
    for (int k = begin; k < end; ++k) {
        y[k] = x[k] + 1;
    }
    return 0;
}
"""


def trial_of(architecture: Architecture, threads: int = 1) -> tuple[Batch, Program]:
    """A batch of one kernel in C, and its program."""
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        Path(folder, "trial.c").write_text(SOURCE)
        tools = Toolchain(architecture, Path(folder), lambda message: None)
        tools.compile_program("trial.c", "trial.o", "-Wno-missing-prototypes")
        content = Path(folder, "trial.o").read_bytes()
    built = Built(
        symbol=SYMBOL,
        content=content,
        prototypes=("int trial_p0(void *, void *, int, int);",),
        calls=("trial_p0(a[0], a[1], begin, end)",),
        extents=(BYTES,),
        operand_bytes=(BYTES, BYTES),
        dtypes=("uint8", "uint8"),
    )
    batch = Batch(Candidate(built, (np.arange(BYTES, dtype="uint8"),)), ())
    return batch, make_program(batch, [], architecture, threads)


def expect_trial(station: Station, trial: tuple[Batch, Program]) -> Station:
    """The station, which has measured the trial. Raises DeviceError when it cannot."""
    batch, program = trial
    try:
        outcome = station.measure(program, batch, [])[0]
        if isinstance(outcome, Failure):
            raise DeviceError(f"{station.name}: a small kernel fails there: {outcome.message}")
    except BaseException:
        station.close()
        raise
    return station
