"""How near the int8 kernels come to the processor's peak, epilogue included.

    python benchmarks/kernels_int8.py [TARGET]

Each kernel adds a bias, requantizes with a scale for each channel and stores uint8 codes. The
peak is that of the dot product instruction on registers, measured in the same run.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tvm
from kernel_clock import Clock
from tvm import relax, te, tirx

from qcompile.ops import requantize
from qcompile.passes.declared_patterns import DeclaredPatterns
from qcompile.schedules import conv2d_int8 as conv2d
from qcompile.schedules import dense_int8 as dense
from qcompile.schedules.conv2d_plan import plan_conv2d
from qcompile.targets import load_processor

OUT_ELEMENTWISE_FUSABLE = 4


@dataclass(frozen=True)
class Convolution:
    """Square data and kernel; `size` before padding."""

    name: str
    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1


RESNET18 = [
    Convolution("conv1", 224, 3, 64, 7, 2),
    Convolution("layer1", 56, 64, 64, 3),
    Convolution("layer2.0.conv1", 56, 64, 128, 3, 2),
    Convolution("layer2.0.downsample", 56, 64, 128, 1, 2),
    Convolution("layer2", 28, 128, 128, 3),
    Convolution("layer3.0.conv1", 28, 128, 256, 3, 2),
    Convolution("layer3.0.downsample", 28, 128, 256, 1, 2),
    Convolution("layer3", 14, 256, 256, 3),
    Convolution("layer4.0.conv1", 14, 256, 512, 3, 2),
    Convolution("layer4.0.downsample", 14, 256, 512, 1, 2),
    Convolution("layer4", 7, 512, 512, 3),
]
# (name, rows, depth, columns)
PRODUCTS = [
    ("ResNet-18 fc", 1, 512, 1000),
    ("MobileNetV2 112, 32 -> 16", 12544, 32, 16),
    ("MobileNetV2 112, 16 -> 96", 12544, 16, 96),
    ("MobileNetV2 56, 96 -> 24", 3136, 96, 24),
    ("MobileNetV2 56, 24 -> 144", 3136, 24, 144),
    ("MobileNetV2 28, 144 -> 32", 784, 144, 32),
    ("MobileNetV2 28, 32 -> 192", 784, 32, 192),
    ("MobileNetV2 14, 384 -> 64", 196, 384, 64),
    ("MobileNetV2 14, 64 -> 384", 196, 64, 384),
    ("MobileNetV2 14, 576 -> 96", 196, 576, 96),
    ("MobileNetV2 7, 160 -> 960", 49, 160, 960),
    ("MobileNetV2 7, 960 -> 320", 49, 960, 320),
    ("MobileNetV2 7, 320 -> 1280", 49, 320, 1280),
    ("MiniLM 128, 384 -> 384", 128, 384, 384),
    ("MiniLM 128, 384 -> 1536", 128, 384, 1536),
    ("MiniLM 128, 1536 -> 384", 128, 1536, 384),
    ("BERT 128, 768 -> 768", 128, 768, 768),
    ("BERT 128, 768 -> 3072", 128, 768, 3072),
    ("text head 40, 80 -> 6625", 40, 80, 6625),
]


def main() -> None:
    target = load_processor(sys.argv[1] if len(sys.argv) > 1 else "host")
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(target, Path(folder))
        print(f"target {target.name}, peak {clock.peak() / 1e9:.0f} GOPS")
        print(f"{'kernel':28} {'tile':>8} {'us':>9} {'GOPS':>6} {'peak':>6} {'weights GB/s':>13}")
        for k, layer in enumerate(RESNET18):
            report(clock, f"ResNet-18 {layer.name}", f"c{k}", *convolution(layer, clock))
        for k, (name, *shape) in enumerate(PRODUCTS):
            report(clock, name, f"d{k}", *product(*shape, clock))


def report(
    clock: Clock,
    name: str,
    symbol: str,
    tile: str,
    operations: int,
    function: tirx.PrimFunc,
    arrays: list[np.ndarray],
) -> None:
    """Time one kernel and print its line."""
    seconds, _ = clock.seconds(function, arrays, symbol)
    rate, share = operations / seconds, operations / seconds / clock.peak()
    bandwidth = arrays[1].nbytes / seconds
    print(
        f"{name:28} {tile:>8} {seconds * 1e6:9.1f} {rate / 1e9:6.0f} {share:6.0%} "
        f"{bandwidth / 1e9:13.1f}",
        flush=True,
    )


def convolution(
    layer: Convolution, clock: Clock
) -> tuple[str, int, tirx.PrimFunc, list[np.ndarray]]:
    x_shape = 1, layer.size, layer.size, layer.inputs
    w_shape = layer.outputs, layer.kernel, layer.kernel, layer.inputs
    pads, strides = (layer.kernel // 2,) * 4, (layer.stride,) * 2
    plan = plan_conv2d(x_shape, w_shape, clock.target, pads=pads, strides=strides)
    rng = np.random.default_rng(0)
    weights = conv2d.pack_weights(rng.integers(-127, 128, w_shape, dtype="int8"), plan)
    y_shape = 1, plan.out_height, plan.out_width, plan.out_channels
    compute = partial(conv2d.conv2d_int8, plan=plan, layer="")
    arrays = operands(plan.input_shape, weights, y_shape)
    tile = f"{plan.tile_rows * plan.tile_columns}x{plan.tile_vectors * plan.lanes}"
    operations = 2 * int(np.prod(y_shape)) * int(np.prod(w_shape[1:]))
    return tile, operations, *fused(compute, arrays)


def product(
    rows: int, depth: int, columns: int, clock: Clock
) -> tuple[str, int, tirx.PrimFunc, list[np.ndarray]]:
    plan = dense.plan_dense(rows, depth, columns, clock.target)
    rng = np.random.default_rng(0)
    weights = dense.pack_weights(rng.integers(-127, 128, (columns, depth), dtype="int8"), plan)
    compute = partial(dense.dense_int8, plan=plan, layer="")
    arrays = operands(plan.input_shape, weights, (rows, columns))
    tile = f"{plan.tile_rows}x{plan.tile_vectors * plan.lanes}"
    return tile, 2 * rows * depth * columns, *fused(compute, arrays)


def operands(
    x_shape: tuple[int, ...], weights: np.ndarray, y_shape: tuple[int, ...]
) -> list[np.ndarray]:
    """x, w, bias, scale and y."""
    rng, channels = np.random.default_rng(0), y_shape[-1]
    x = rng.integers(0, 256, x_shape, dtype="uint8")
    bias = rng.integers(-1000, 1000, channels, dtype="int32")
    scale = rng.random(channels, "float32") * np.float32(1e-3)
    return [x, weights, bias, scale, np.zeros(y_shape, "uint8")]


def requantized(sums: relax.Expr, scale: relax.Expr) -> relax.Expr:
    """uint8 codes of the sums, by a scale for each channel."""
    return requantize(sums, scale, None, input_zero=0, zero_point=3, low=0, high=255, dtype="uint8")


def fused(
    compute: Callable[..., te.Tensor],
    arrays: list[np.ndarray],
    epilogue: Callable[..., relax.Expr] = requantized,
) -> tuple[tirx.PrimFunc, list[np.ndarray]]:
    """The kernel with its epilogue, as TVM's fusion makes it, and `arrays` with its constants.

    The first three arrays are the kernel's, the last is the result, the others the epilogue's.
    """
    variables = [
        relax.Var(f"x{number}", relax.TensorType(array.shape, str(array.dtype)))
        for number, array in enumerate(arrays[:-1])
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        with builder.dataflow():
            sums = builder.emit_te(
                compute,
                *variables[:3],
                primfunc_name_hint="kernel",
                primfunc_attrs={"op_pattern": OUT_ELEMENTWISE_FUSABLE},
            )
            result = builder.emit_output(epilogue(sums, *variables[3:]))
        builder.emit_func_output(result)
    passes = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        DeclaredPatterns(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    module = tvm.transform.Sequential(passes)(builder.get())
    (function,) = [f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)]
    ((binding,),) = [block.bindings for block in module["main"].body.blocks]
    operands = list(arrays)
    for place, argument in enumerate(binding.value.args[1].fields):
        if not isinstance(argument, relax.Var):
            operands.insert(place, argument.value.numpy())
    return function, operands


if __name__ == "__main__":
    main()
