"""Kernels on bit planes against the limit of counting bits, and against our int8 kernels.

    python benchmarks/bitserial.py [--target TARGET] [--json] [--record]

Each kernel ends like a layer inside of a binary network: a bias, thresholds, and the codes packed
into as many planes as it reads. The int8 kernel ends with a scale for each channel and uint8 codes.
The limit is that of `vpxord` with a broadcast word, `vpopcntd` and `vpaddd` on sums in registers,
measured in the same run. "epilogue" is what thresholds and packing take more than storing the
int32 sums, "packing" what packing takes more than storing the codes, "border" a copy of the packed
result with a border of one pixel; all are shares of the layer.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import kernels_int8
import numpy as np
from kernel_clock import Clock
from results import Report, Table, add_options, finish
from tvm import relax, te

from qcompile.passes.declared_patterns import DECLARED, ELEMENTWISE
from qcompile.schedules import conv2d_bits as conv2d
from qcompile.schedules import dense_bits as dense
from qcompile.schedules.bit_product import Planes
from qcompile.schedules.conv2d_bits_plan import plan_conv2d_bits
from qcompile.schedules.dense_bits_plan import plan_dense_bits
from qcompile.schedules.pack_bits import pack_bits
from qcompile.schedules.prepare_bits import prepare_bits
from qcompile.schedules.threshold import threshold
from qcompile.targets import load_processor

CONVOLUTIONS = [layer for layer in kernels_int8.RESNET18 if layer.kernel == 3]
# (rows, columns, depth)
PRODUCTS = [
    *((3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608)),
    *((128, 768, 768), (128, 3072, 768)),
]
FUSED = {DECLARED: ELEMENTWISE}
COLUMNS = [
    *("kernel", "widths", "tile", "us", "GOPS", "% of limit", "times int8"),
    *("epilogue %", "packing %", "border %"),
]


@dataclass(frozen=True)
class Width:
    """Bits of weights and of activations; one bit of weights is -1 or 1."""

    weights: int
    data: int

    def __str__(self) -> str:
        return f"W{self.weights}A{self.data}"

    @property
    def planes(self) -> Planes:
        if self.weights == 1:
            return Planes("xor", tuple((-(2 ** (i + 1)),) for i in range(self.data)))
        signs = [*[1] * (self.weights - 1), -1]
        return Planes(
            "and",
            tuple(
                tuple(sign * 2 ** (i + j) for j, sign in enumerate(signs)) for i in range(self.data)
            ),
        )


WIDTHS = [Width(1, 1), Width(1, 2), Width(2, 1), Width(2, 2), Width(1, 4)]


@dataclass(frozen=True)
class Kernel:
    """What computes the sums, its first three operands, the shape of the sums, and the tile."""

    compute: Callable[..., te.Tensor]
    operands: list[np.ndarray]
    sums: tuple[int, ...]
    tile: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="host")
    add_options(parser)
    options = parser.parse_args()
    target = load_processor(options.target)
    if "avx512vpopcntdq" not in target.features:
        print(f"skipped: {target.name} has no vpopcntd, whose limit this measures", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(target, Path(folder))
        rows = [row for width in WIDTHS for row in _rows(width, clock)]
        remark = (
            f"Limit {clock.popcount_limit() / 1e9:.0f} GOPS of one bit by one bit, divided by the "
            f"pairs of planes; int8 peak {clock.peak() / 1e9:.0f} GOPS. One thread, target "
            f"{target.name}."
        )
    finish(Report("bitserial", [Table("Kernels on bit planes", COLUMNS, rows)], [remark]), options)


def _rows(width: Width, clock: Clock) -> list[list[str | int | float]]:
    """Every kernel in one width."""
    found = []
    for number, layer in enumerate(CONVOLUTIONS):
        _, operations, function, arrays = kernels_int8.convolution(layer, clock)
        int8_s, _ = clock.seconds(function, arrays, f"int8_c{number}")
        name = f"{layer.name}, {layer.inputs} -> {layer.outputs}"
        kernel = _convolution(layer, width, clock)
        found.append(_row(name, f"c{number}", kernel, width, operations, int8_s, clock))
    for number, (rows, columns, depth) in enumerate(PRODUCTS):
        _, operations, function, arrays = kernels_int8.product(rows, depth, columns, clock)
        int8_s, _ = clock.seconds(function, arrays, f"int8_d{number}")
        kernel = _product(rows, columns, depth, width, clock)
        name = f"{rows} x {columns} x {depth}"
        found.append(_row(name, f"d{number}", kernel, width, operations, int8_s, clock))
    return found


def _row(
    name: str,
    symbol: str,
    kernel: Kernel,
    width: Width,
    operations: int,
    int8_s: float,
    clock: Clock,
) -> list[str | int | float]:
    channels = kernel.sums[-1]
    thresholds = np.zeros((2**width.data - 1, channels), "int32")
    codes = np.zeros(kernel.sums, "uint8")
    packed = np.zeros((*kernel.sums[:-1], width.data, channels // 32), "uint32")
    symbol = f"{symbol}_{width}"

    def seconds(kind: str, epilogue: Callable[..., relax.Expr], *others: np.ndarray) -> float:
        function, arrays = kernels_int8.fused(kernel.compute, [*kernel.operands, *others], epilogue)
        return clock.seconds(function, arrays, f"{symbol}_{kind}")[0]

    layer_s = seconds("packed", partial(_packed, width.data), thresholds, packed)
    codes_s = seconds("codes", _codes, thresholds, codes)
    sums_s = seconds("sums", lambda sums: sums, codes.astype("int32"))
    border_s = _border_s(packed, symbol, clock)
    limit = clock.popcount_limit() / width.planes.pairs
    return [
        *(name, str(width), kernel.tile, round(layer_s * 1e6, 1)),
        round(operations / layer_s / 1e9),
        round(100 * operations / layer_s / limit, 1),
        round(int8_s / layer_s, 2),
        *(
            round(100 * part / layer_s, 1)
            for part in (layer_s - sums_s, layer_s - codes_s, border_s)
        ),
    ]


def _border_s(packed: np.ndarray, symbol: str, clock: Clock) -> float:
    """The time to copy packed data into a border of a pixel; 0 for what is no image."""
    if packed.ndim != 5:
        return 0.0
    _, height, width, planes, words = packed.shape
    x = te.placeholder(packed.shape, "uint32", name="x")
    y = prepare_bits(x, pads=(1, 1, 1, 1), columns=width + 2, code=0, group_channels=32 * words)
    result = np.zeros((1, height + 2, width + 2, planes, words), "uint32")
    seconds, _ = clock.seconds(te.create_prim_func([x, y]), [packed, result], f"{symbol}_border")
    return seconds


def _codes(sums: relax.Expr, thresholds: relax.Expr) -> relax.Expr:
    """An epilogue: the codes by thresholds."""
    builder = relax.BlockBuilder.current()
    return builder.emit_te(threshold, sums, thresholds, primfunc_attrs=FUSED)


def _packed(bits: int, sums: relax.Expr, thresholds: relax.Expr) -> relax.Expr:
    """An epilogue: the same, packed."""
    codes = _codes(sums, thresholds)
    return relax.BlockBuilder.current().emit_te(pack_bits, codes, bits, primfunc_attrs=FUSED)


def _convolution(layer: kernels_int8.Convolution, width: Width, clock: Clock) -> Kernel:
    plan = plan_conv2d_bits(
        (1, layer.size, layer.size, layer.inputs),
        (layer.outputs, layer.kernel, layer.kernel, layer.inputs),
        width.planes,
        clock.target,
        pads=(layer.kernel // 2,) * 4,
        strides=(layer.stride,) * 2,
    )
    return Kernel(
        partial(conv2d.conv2d_bits, plan=plan, layer=""),
        _operands(plan.input_shape, plan.weight_shape, layer.outputs),
        (1, plan.out_height, plan.out_width, plan.out_channels),
        f"{plan.tile_rows * plan.tile_columns}x{plan.tile_vectors * plan.popcount.lanes}",
    )


def _product(rows: int, columns: int, depth: int, width: Width, clock: Clock) -> Kernel:
    plan = plan_dense_bits(rows, depth, columns, width.planes, clock.target)
    return Kernel(
        partial(dense.dense_bits, plan=plan, layer=""),
        _operands(plan.input_shape, plan.weight_shape, columns),
        (rows, columns),
        f"{plan.tile_rows}x{plan.tile_vectors * plan.popcount.lanes}",
    )


def _operands(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], channels: int
) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 2**32, shape, dtype="uint32") for shape in (x_shape, w_shape))
    return [x, w, rng.integers(-1000, 1000, channels, dtype="int32")]


if __name__ == "__main__":
    main()
