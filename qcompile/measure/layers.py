"""Layers to measure, and the kernels that they become.

A layer is measured as it runs in a network: it takes codes of few bits and makes such codes.
"""

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, tirx

from qcompile.ops import conv2d, dense, threshold
from qcompile.passes.choose_kernels import with_kernel
from qcompile.passes.kernel_work import WHOLE, LayerShape
from qcompile.passes.layers import Geometry
from qcompile.pipeline import fuse_passes, lower_chosen_passes
from qcompile.targets import Target

# Bits of data and of weights.
BITS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (3, 3), (4, 4)]
RANDOM_BITS = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (4, 2), (3, 3), (4, 4), (8, 2)]
QUICK_BITS = [(1, 1), (2, 2)]
MORE_BITS = [(3, 1), (3, 3), (4, 4)]
INT8_BITS = (8, 8)
# (size, inputs, outputs) of images
CONVOLUTIONS = [
    *((56, 64, 64), (28, 128, 128), (14, 256, 256), (7, 512, 512)),
    *((28, 16, 32), (14, 96, 40)),
]
QUICK_CONVOLUTIONS = [(14, 128, 128), (7, 512, 128), (28, 16, 32)]
# (rows, depth, outputs)
PRODUCTS = [
    *((1, 256, 40), (1, 784, 64), (1, 1024, 1024), (1, 4096, 1000)),
    *((4, 512, 512), (8, 256, 256), (16, 100, 24), (64, 768, 768), (64, 64, 512)),
    *((784, 64, 64), (784, 256, 64), (196, 512, 128), (1, 512, 1000), (2, 800, 256)),
]
QUICK_PRODUCTS = [(1, 1024, 1000), (8, 256, 256), (64, 768, 64), (784, 64, 64), (64, 64, 512)]
QUICK_PRODUCTS_OF = 2**24  # multiplications: more only take longer
LEVELS = 3  # thresholds of the codes that a layer makes


def convolution(
    size: int, inputs: int, outputs: int, bits: tuple[int, int], kernel: int = 3, stride: int = 1
) -> LayerShape:
    """A convolution of a square image, padded to keep its size; bits: of data and weights."""
    geometry = Geometry((kernel // 2,) * 4, (stride, stride), (1, 1), 1)
    return LayerShape((1, size, size, inputs), (outputs, kernel, kernel, inputs), geometry, *bits)


def product(rows: int, depth: int, outputs: int, bits: tuple[int, int]) -> LayerShape:
    in_memory = 2 if bits[1] <= 2 else 4 if bits[1] <= 4 else None
    return LayerShape((1, 1, rows, depth), (outputs, 1, 1, depth), WHOLE, *bits, in_memory)


def kernels_of(layer: LayerShape, kernel: str, target: Target) -> dict[str, tirx.PrimFunc]:
    """The kernels that a layer becomes on `kernel`, "int8", "packed" or "bits", by name."""
    passes = [*lower_chosen_passes(target), *fuse_passes(target)]
    module = tvm.transform.Sequential(passes)(layer_module(layer, kernel))
    functions = {str(variable.name_hint): f for variable, f in module.functions.items()}
    return {name: f for name, f in functions.items() if isinstance(f, tirx.PrimFunc)}


def grid() -> Iterator[LayerShape]:
    """Layers that tell costs apart: sizes of ResNet-18, few outputs and many, short products."""
    for bits in BITS:
        yield from (convolution(*sizes, bits) for sizes in CONVOLUTIONS)
        yield convolution(28, 64, 128, bits, kernel=3, stride=2)
        yield convolution(14, 64, 64, bits, kernel=5)
        yield from (product(*sizes, bits) for sizes in PRODUCTS)


def quick_grid() -> Iterator[LayerShape]:
    """The fewest of them that do, measured in a few seconds; int8 kernels need no variants."""
    yield from (convolution(*sizes, INT8_BITS) for sizes in CONVOLUTIONS)
    yield from (product(*sizes, INT8_BITS) for sizes in PRODUCTS if prod(sizes) < QUICK_PRODUCTS_OF)
    for bits in QUICK_BITS:
        yield from (convolution(*sizes, bits) for sizes in QUICK_CONVOLUTIONS)
        yield from (product(*sizes, bits) for sizes in QUICK_PRODUCTS)


def modelled_grid() -> Iterator[LayerShape]:
    """The quick grid, and layers of more planes: on ARM they are near to what int8 takes."""
    yield from quick_grid()
    for bits in MORE_BITS:
        yield from (convolution(*sizes, bits) for sizes in QUICK_CONVOLUTIONS)
        yield from (product(*sizes, bits) for sizes in QUICK_PRODUCTS)


def random_grid(count: int) -> Iterator[LayerShape]:
    """Other layers, to test a table on."""
    rng = np.random.default_rng(1)
    for k in range(count):
        bits = RANDOM_BITS[k % len(RANDOM_BITS)]
        inputs, outputs = (int(n) for n in rng.integers(2, 48, 2) * 8)
        if k % 2:
            size, kernel = int(rng.integers(6, 40)), int(rng.choice([2, 3, 5]))
            yield convolution(size, inputs, outputs, bits, kernel, stride=1 + k % 4 // 3)
        else:
            rows, depth = int(2 ** rng.integers(0, 11)), inputs * int(rng.integers(1, 8))
            yield product(rows, depth, outputs, bits)


def few_codes(sums: relax.Expr, outputs: int) -> tvm.ir.Call:
    """sums -> thresholds -> codes."""
    levels = np.arange(LEVELS * outputs, dtype="int32").reshape(LEVELS, outputs)
    return threshold(sums, relax.const(levels), low=0, step=1, dtype="uint8")


def layer_module(
    layer: LayerShape, kernel: str, epilogue: Callable[[relax.Expr, int], relax.Expr] = few_codes
) -> tvm.IRModule:
    """codes -> convolution or product -> codes, by the epilogue of sums of so many outputs."""
    builder = relax.BlockBuilder()
    shape = (prod(layer.x[:3]), layer.x[3]) if layer.pointwise else layer.x
    x = relax.Var("x", relax.TensorType(shape, "int8" if layer.signed else "uint8"))
    with builder.function("main", [x]):
        with builder.dataflow():
            sums = builder.emit(with_kernel(_sums(layer, x), kernel))
            result = builder.emit_output(epilogue(sums, layer.w[0]))
        builder.emit_func_output(result)
    return builder.get()


def _sums(layer: LayerShape, x: relax.Expr) -> tvm.ir.Call:
    w, bias = _weights(layer), relax.const(np.zeros(layer.w[0], "int32"))
    bits, codes = (layer.data_bits, layer.weight_bits), (0, 1)
    if layer.pointwise:
        matrix = relax.const(w.reshape(len(w), -1))
        return dense(x, matrix, bias, zero_point=0, bits=bits, codes=codes, layer="layer")
    return conv2d(
        x,
        relax.const(w),
        bias,
        strides=layer.geometry.strides,
        padding=layer.geometry.pads,
        dilation=layer.geometry.dilation,
        groups=layer.geometry.groups,
        zero_point=0,
        bits=bits,
        codes=codes,
        layer="layer",
    )


def _weights(layer: LayerShape) -> NDArray[np.int8]:
    """Random weights that need exactly `weight_bits` planes."""
    largest = 2 ** (layer.weight_bits - 1)
    # Quantizers leave -128 out, which keeps sums of two products within 16 bits.
    lowest = max(-largest, -127)
    values = [-1, 1] if layer.weight_bits == 1 else range(lowest, largest)
    w = np.random.default_rng(0).choice(np.array(values, "int8"), layer.w)
    w.flat[: min(len(values), w.size)] = list(values)[: w.size]
    return w
