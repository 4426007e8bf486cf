"""Measure this machine quickly, in a process of its own; the table goes to the standard output."""

import ctypes
import os
import signal
import sys
from functools import partial

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> None:
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TVM prints is no answer
    from qcompile.measure.clock import QUICK, seconds_of
    from qcompile.measure.fit import fit
    from qcompile.measure.layers import quick_grid
    from qcompile.measure.samples import measure
    from qcompile.targets import load_processor

    samples = measure(quick_grid(), load_processor("host"), partial(seconds_of, bursts=QUICK))
    answer.write(fit(samples, sys.argv[1]).to_toml())
    answer.close()


if __name__ == "__main__":
    main()
