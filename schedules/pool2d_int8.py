"""Pooling of 8-bit codes: the largest code of a window, or the sum of its codes.

    max:  y[n, i, j, c] = max over (p, q) of x[n, row, column, c], outside of x the lowest code
    sum:  y[n, i, j, c] = sum over (p, q) of x[n, row, column, c], outside of x `zero`

with row = i * s_h + p * d_h - top, column = j * s_w + q * d_w - left. x: (N, H, W, C) uint8 or
int8. The sum is int32: averages divide it in their epilogue, by the size of the whole window when
`zero` is the zero point and pads count, else by the codes inside.
"""

from collections.abc import Sequence
from math import ceil

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from qcompile.schedules.epilogue import inline_epilogue
from qcompile.targets import Target

MOST_IN_INT16 = (2**15 - 1) // (2**8 - 1)  # codes whose sum fits
LARGEST_UNROLLED_WINDOW = 25
SMALLEST_PARALLEL_BYTES = 1 << 19  # codes that one core pools in about 20 us


def max_pool2d_int8(
    x: te.Tensor,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
    layer: str = "",
) -> te.Tensor:
    """The largest codes, (N, OH, OW, C) of the type of x. pads: (top, left, bottom, right)."""
    window = _Window(x, kernel, strides, pads, dilation, ceil_mode)
    lowest = tirx.min_value(str(x.dtype))

    def entry(n: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
        return te.max(window.code(n, i, j, c, lowest), axis=window.axes)

    return te.compute(window.shape, entry, name="pooled", attrs=_attrs(layer))


def sum_pool2d_int8(
    x: te.Tensor,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
    zero: int = 0,
    layer: str = "",
) -> te.Tensor:
    """The sums of the codes, (N, OH, OW, C) int32. pads: (top, left, bottom, right)."""
    window = _Window(x, kernel, strides, pads, dilation, ceil_mode)
    sum_type = "int16" if kernel[0] * kernel[1] <= MOST_IN_INT16 else "int32"

    def entry(n: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var) -> tirx.Expr:
        code = window.code(n, i, j, c, tirx.const(zero, str(x.dtype)))
        return te.sum(code.astype(sum_type), axis=window.axes)

    sums = te.compute(window.shape, entry, name="pooled", attrs=_attrs(layer))
    if sum_type == "int32":
        return sums
    return te.compute(window.shape, lambda *index: sums(*index).astype("int32"), name="sums")


def global_sum_int8(x: te.Tensor, *, layer: str = "") -> te.Tensor:
    """The sums of all pixels, (N, 1, 1, C) int32."""
    _, height, width, _ = (int(extent) for extent in x.shape)
    return sum_pool2d_int8(x, kernel=(height, width), layer=layer)


def _attrs(layer: str) -> dict[str, str]:
    return {"qcompile.schedule": "pool2d_int8", "qcompile.layer": layer}


class _Window:
    """The reduction axes of a window, the shape of all windows, and what a window sees."""

    def __init__(
        self,
        x: te.Tensor,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool,
    ) -> None:
        n, *size, c = (int(extent) for extent in x.shape)
        top, left, bottom, right = pads
        self.x, self.size, self.strides, self.dilation = x, size, strides, dilation
        self.first, last = (top, left), (bottom, right)
        self.axes = [te.reduce_axis((0, extent), "pq"[a]) for a, extent in enumerate(kernel)]
        self.counts = [
            pooled_extent(
                size[a], kernel[a], strides[a], self.first[a], last[a], dilation[a], ceil_mode
            )
            for a in (0, 1)
        ]
        self.reach = [(kernel[a] - 1) * dilation[a] for a in (0, 1)]
        self.shape = n, *self.counts, c

    def code(
        self, n: tirx.Var, i: tirx.Var, j: tirx.Var, c: tirx.Var, outside: tirx.Expr
    ) -> tirx.Expr:
        """The code at one position of the window."""
        row, column = (
            index * self.strides[a] + self.axes[a].var * self.dilation[a] - self.first[a]
            for a, index in enumerate((i, j))
        )
        tests = []
        for a, position in enumerate((row, column)):
            if self.first[a] > 0:
                tests.append(position >= 0)
            if (self.counts[a] - 1) * self.strides[a] + self.reach[a] - self.first[a] >= self.size[
                a
            ]:
                tests.append(position < self.size[a])
        code = self.x[n, row, column, c]
        return tirx.if_then_else(tirx.all(*tests), code, outside) if tests else code


def pooled_extent(
    size: int, kernel: int, stride: int, first: int, last: int, dilation: int, ceil_mode: bool
) -> int:
    """Windows along one axis of `size`, padded by `first` and `last` (ONNX MaxPool, opset 22).

    With ceil_mode a last window may hang over the end, but starts inside x or its first pad.
    """
    steps = size + first + last - (kernel - 1) * dilation - 1
    if not ceil_mode:
        return steps // stride + 1
    windows = ceil(steps / stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + first else windows


def schedule_pool2d_int8(sch: s_tir.Schedule, pooled: SBlockRV, target: Target) -> None:
    """How it is computed: a vector of channels stays in registers while the window passes."""
    output = inline_epilogue(sch, pooled)
    n, i, j, c, p, q = sch.get_loops(pooled)
    window = int(sch.get(p).extent) * int(sch.get(q).extent)
    unrolled = window <= LARGEST_UNROLLED_WINDOW
    sch.set_scope(pooled, 0, "global" if unrolled else "local")
    codes = window
    for axis in (n, i, j, c):
        codes *= int(sch.get(axis).extent)
    vectors, lane = sch.split(c, [None, target.vector_bytes])
    sch.reorder(n, i, j, vectors, p, q, lane)
    sch.reverse_compute_at(output, vectors, preserve_unit_loops=True)
    if target.cores > 1 and codes >= SMALLEST_PARALLEL_BYTES:
        sch.parallel(sch.fuse(n, i) if int(sch.get(i).extent) > 1 else sch.fuse(n, i, j, vectors))
    sch.vectorize(sch.get_loops(output)[-1])
    sch.vectorize(lane)
    if unrolled:
        sch.unroll(p)
        sch.unroll(q)
    sch.decompose_reduction(pooled, p)
