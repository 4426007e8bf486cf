"""Data made ready for the int8 kernels: uint8, with a border and with spare channels and columns.

    y[n, i, j, c] = code(x[n, i - top, j - left, c])    inside x
                  = zero                                 elsewhere

code(x) is x for uint8 and x + 128 for int8 (the bits xor 0x80). zero is such a code. The cost is
one pass over the bytes: what produces x (dequantize, quantize, transpose) is computed on the way.
"""

from collections.abc import Sequence

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue, store_lanes
from qcompile.targets import Target

PARTITION = "pragma_loop_partition_hint"  # the border and the inside become loops of their own
SMALLEST_PARALLEL_BYTES = 1 << 20  # copied by one core in about 20 us


def prepare(
    x: te.Tensor,
    *,
    pads: Sequence[int],
    channels: int,
    columns: int,
    zero: int,
    layer: str = "",
) -> te.Tensor:
    """What is computed. x: (N, H, W, C) uint8 or int8; pads: (top, left, bottom, right).

    The result is (N, H + top + bottom, columns, channels) uint8; columns are at least
    left + W, whatever pads says of the right.
    """
    n, height, width, inside = (int(extent) for extent in x.shape)
    top, left, bottom, _ = pads
    assert columns >= left + width and channels >= inside and 0 <= zero <= 255

    def entry(image: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
        value = x[image, i - top, j - left, c].astype("uint8")
        code = value ^ tirx.const(128, "uint8") if str(x.dtype) == "int8" else value
        rows = tirx.all(i >= top, i < top + height)
        pixels = tirx.all(j >= left, j < left + width)
        return tirx.if_then_else(
            tirx.all(rows, pixels, c < inside), code, tirx.const(zero, "uint8")
        )

    attrs = {"qcompile.schedule": "prepare", "qcompile.layer": layer, "qcompile.inside": inside}
    shape = n, height + top + bottom, columns, channels
    return te.compute(shape, entry, name="prepare", attrs=attrs)


def schedule_prepare(sch: s_tir.Schedule, block: SBlockRV, target: Target) -> None:
    """How it is computed: row by row, a vector of channels at a time."""
    inside = int(sch.get(block).annotations["qcompile.inside"])
    block = inline_epilogue(sch, block)
    n, i, j, c = sch.get_loops(block)
    images, rows, columns, channels = (int(sch.get(loop).extent) for loop in (n, i, j, c))
    lanes = min(
        store_lanes(inside, target.vector_bytes), store_lanes(channels, target.vector_bytes)
    )
    vectors, lane = sch.split(c, [None, lanes])
    sch.vectorize(lane)
    parallel = target.cores > 1 and images * rows * columns * channels >= SMALLEST_PARALLEL_BYTES
    hinted = [j, vectors] if parallel or images > 1 else [i, j, vectors]
    for loop in hinted:
        sch.annotate(loop, PARTITION, 1)
    if parallel:
        sch.parallel(sch.fuse(n, i))
