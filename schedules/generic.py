"""Whatever has no kernel of its own: the float operators between quantized layers.

The blocks of a PrimFunc become loop nests, each around one *leader*: a block whose elements are
independent, every output being one. What its rows need (sums over a row, exponentials used
twice) is computed inside, row by row; cheap elementwise blocks are inlined.

    softmax(x), rows by columns:
        for row in parallel(rows):
            m = max(x[row, :])            vector of maxima, then one number
            e[:] = exp(x[row, :] - m)     a row of memory
            s = sum(e[:])
            y[row, :] = e[:] / s          the leader
"""

from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV, ScheduleError

from qcompile.schedules import access
from qcompile.schedules.elementwise import schedule_elementwise
from qcompile.schedules.reduction import schedule_rows
from qcompile.targets import Target

PLAIN = "qcompile.plain_loops"
"""The attribute of a PrimFunc that stays as plain loops: correct, neither vectors nor threads."""

ROW_BYTES = 64 * 1024  # of memory for what one row of a leader needs; beyond, a nest of its own
REUSES = 16  # the most times a cheap element is computed again rather than stored
