"""What is said about float operators holds for the fused kernels."""

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.op import nn

from qcompile.analysis import float_operators
from qcompile.passes.rewriter import dtype_of
from qcompile.pipeline import fuse_passes, integer_form_passes, lower_passes
from qcompile.targets import load_target
from tests.passes.modules import const, dequantized, module, quantized

RNG = np.random.default_rng(0)
IMAGE = (1, 6, 5, 8)
CODES = (IMAGE, "uint8")


def weights(shape, dtype="int8"):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


def convolution(kernel=3, groups=1, dtype="int8", zero=0):
    w = weights((8, 8 // groups, kernel, kernel), dtype)

    def layer(emit, x):
        pair = emit(dequantized(x, 0.1, 128)), emit(dequantized(w, 0.01, zero))
        options = {"padding": (kernel // 2,) * 2, "groups": groups, "data_layout": "NHWC"}
        return emit(nn.conv2d(*pair, **options, kernel_layout="OIHW"), name_hint="layer")

    return layer


def product(emit, x):
    pair = emit(dequantized(x, 0.1, 128)), emit(dequantized(weights((8, 8)), 0.01))
    return emit(relax.op.matmul(*pair), name_hint="layer")


def average(emit, x):
    y = emit(dequantized(x, 0.1, 128))
    return emit(nn.avg_pool2d(y, (2, 2), layout="NHWC"), name_hint="layer")


def products_of_codes(emit, x):
    y = emit(dequantized(x, 0.1, 128))
    z = emit(dequantized(emit(relax.op.permute_dims(x, [0, 1, 3, 2])), 0.1, 128))
    return emit(relax.op.matmul(y, z), name_hint="layer")


LAYERS = {
    "convolution": convolution(),
    "pointwise": convolution(kernel=1),
    "depthwise": convolution(groups=8),
    "grouped": convolution(groups=2),
    "weights_with_a_zero": convolution(dtype="uint8", zero=131),
    "dense": product,
    "pool": average,
    "batch_matmul": products_of_codes,
}


def hard_swish(emit, y):
    gate = emit(relax.op.clip(emit(relax.op.add(y, const(3.0))), 0, 6))
    return emit(relax.op.multiply(y, emit(relax.op.divide(gate, const(6.0)))))


def prelu(emit, y):
    slopes = RNG.uniform(-1, 1, int(y.ty.shape[-1])).astype("float32")
    return emit(nn.prelu(y, const(slopes), 3))


ACTIVATIONS = {
    "leaky_relu": lambda emit, y: emit(nn.leakyrelu(y, 0.1)),
    "prelu": prelu,
    "hard_swish": hard_swish,
    "sigmoid": lambda emit, y: emit(relax.op.sigmoid(y)),
}


def told(mod):
    """The reasons for the float operators, and the float tensors that the kernels write."""
    integer_form = tvm.transform.Sequential(list(integer_form_passes()))(mod)
    target = load_target("x86-64-v3")
    passes = [*lower_passes(target), *fuse_passes(target)]
    kernels = tvm.transform.Sequential(passes)(integer_form)
    values = [b.var for block in kernels["main"].body.blocks for b in block.bindings]
    tensors = [value for value in values if isinstance(value.ty, relax.TensorType)]
    written = [tensor for tensor in tensors if dtype_of(tensor) == "float32"]
    return {found.op: found.reason for found in float_operators(integer_form)}, written


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_run_in_the_epilogue(layer, activation):
    def body(emit, x):
        y = ACTIVATIONS[activation](emit, LAYERS[layer](emit, x))
        return quantized(y, 0.05, 100)

    reasons, written = told(module(body, CODES))
    assert written == []
    assert reasons
    for reason in reasons.values():
        assert reason.startswith("float32 in registers, in the epilogue of layer;"), reason


def residual(emit, x):
    other = emit(dequantized(x, 0.2, 3))
    return quantized(emit(nn.leakyrelu(emit(relax.op.add(convolution()(emit, x), other)))), 0.05)


def test_codes_may_be_added_in_the_epilogue():
    reasons, written = told(module(residual, CODES))
    assert written == []
    assert set(reasons) == {"add", "leakyrelu"}
    assert all("in the epilogue of layer;" in reason for reason in reasons.values())


def test_from_codes_to_codes():
    def body(emit, x):
        return quantized(prelu(emit, emit(dequantized(x, 0.1, 128))), 0.05)

    reasons, written = told(module(body, CODES))
    assert written == []
    assert reasons == {
        "prelu": "float32 in registers, from codes to codes; no float tensor is written"
    }


def read_twice(emit, x):
    y = emit(nn.leakyrelu(convolution()(emit, x)))
    return [emit(quantized(y, 0.05)), emit(quantized(y, 0.1, 7))]


def returned(emit, x):
    return nn.leakyrelu(convolution()(emit, x))


def reduced(emit, x):
    y = emit(nn.leakyrelu(convolution()(emit, x)))
    return quantized(emit(relax.op.sum(y, [3])), 0.05)


def of_two_layers(emit, x):
    total = emit(relax.op.add(convolution()(emit, x), convolution(kernel=1)(emit, x)))
    return quantized(emit(nn.leakyrelu(total)), 0.05)


def with_floats(emit, x, y):
    return quantized(emit(nn.leakyrelu(emit(relax.op.add(convolution()(emit, x), y)))), 0.05)


def of_another_shape(emit, x):
    pixel = emit(relax.op.strided_slice(x, [1, 2], [0, 0], [1, 1]))
    y = convolution(kernel=1)(emit, pixel)
    return quantized(emit(nn.leakyrelu(emit(relax.op.add(y, const(np.ones(IMAGE)))))), 0.05)


OTHERS = {
    "read_twice": module(read_twice, CODES),
    "returned": module(returned, CODES),
    "reduced": module(reduced, CODES),
    "of_two_layers": module(of_two_layers, CODES),
    "with_floats": module(with_floats, CODES, (IMAGE, "float32")),
    "of_another_shape": module(of_another_shape, CODES),
}


@pytest.mark.parametrize("case", OTHERS)
def test_nothing_is_said_of_others(case):
    reasons, _ = told(OTHERS[case])
    assert reasons["leakyrelu"] == "has no integer form here"
