"""Small networks of the kinds people deploy, with seeded random weights."""

from collections.abc import Callable

import numpy as np
import onnx
from graph import Graph

Shape = list[int]


def transformer() -> onnx.ModelProto:
    """One pre-norm encoder block of 4 heads over 16 tokens of width 64."""
    net, tokens, width, heads = Graph("transformer", 1), 16, 64, 4
    x = net.input("x", [1, tokens, width])
    y = _layer_norm(net, x, width)
    q, k, v = (net.dense(y, width, width, gain=0.7, name=name) for name in "qkv")
    split = net.constant(np.array([1, tokens, heads, width // heads], "int64"))
    q, v = (net.node("Transpose", net.node("Reshape", t, split), perm=[0, 2, 1, 3]) for t in (q, v))
    k = net.node("Transpose", net.node("Reshape", k, split), perm=[0, 2, 3, 1])
    scores = net.node("Mul", net.node("MatMul", q, k, name="scores"), net.scalar(0.25))
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=-1), v, name="mixed")
    joined = net.constant(np.array([1, tokens, width], "int64"))
    mixed = net.node("Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
    x = net.node("Add", x, net.dense(mixed, width, width, name="out"))
    hidden = _gelu(net, net.dense(_layer_norm(net, x, width), width, 4 * width, name="up"))
    x = net.node("Add", x, net.dense(hidden, 4 * width, width, gain=0.7, name="down"))
    return net.model({x: [1, tokens, width]})


def decomposed_transformer() -> onnx.ModelProto:
    """A post-norm feed-forward block: normalization from primitives, GELU by tanh, batch 2."""
    net, width = Graph("decomposed_transformer", 2), 48
    x = net.input("x", [2, 10, width])
    y = _tanh_gelu(net, net.dense(x, width, 96, name="up"))
    total = net.node("Add", net.dense(y, 96, width, name="down"), x)
    centred = net.node("Sub", total, net.node("ReduceMean", total, axes=[-1]))
    spread = net.node("ReduceMean", net.node("Pow", centred, net.scalar(2)), axes=[-1])
    deviation = net.node("Sqrt", net.node("Add", spread, net.scalar(1e-5)))
    normal = net.node("Mul", net.node("Div", centred, deviation), net.bias(width))
    pooled = net.node("ReduceMean", net.node("Add", normal, net.bias(width)), axes=[1], keepdims=0)
    return net.model({net.gemm(pooled, width, 5, name="classifier"): [2, 5]})


def squeeze_excite() -> onnx.ModelProto:
    """A MobileNetV3 block: depthwise 5x5, squeeze and excitation, hard swish."""
    net = Graph("squeeze_excite", 3)
    x = net.node("HardSwish", net.conv(net.input("x", [1, 3, 32, 32]), 3, 24, 3, stride=2))
    y = net.node("HardSwish", net.conv(x, 24, 72, 1))
    y = net.node("HardSwish", net.conv(y, 72, 72, 5, groups=72))
    gate = net.node("Relu", net.conv(net.node("GlobalAveragePool", y), 72, 18, 1))
    gate = net.node("HardSigmoid", net.conv(gate, 18, 72, 1), alpha=1 / 6, beta=0.5)
    x = net.node("Add", x, net.conv(net.node("Mul", y, gate), 72, 24, 1))
    pooled = net.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    return net.model({net.gemm(pooled, 24, 10): [1, 10]})


def unet() -> onnx.ModelProto:
    """Down, up by a transposed convolution and by interpolation, with skip connections."""
    net = Graph("unet", 4)
    high = net.node("Relu", net.conv(net.input("x", [1, 3, 32, 24]), 3, 16, 3))
    middle = net.node("MaxPool", high, kernel_shape=[2, 2], strides=[2, 2])
    middle = net.node("Relu", net.conv(middle, 16, 24, 3))
    low = net.node("AveragePool", middle, kernel_shape=[2, 2], strides=[2, 2])
    low = net.node("LeakyRelu", net.conv(low, 24, 32, 3, dilations=[1, 1]), alpha=0.1)
    weights = net.weights(32, 24, 2, 2, fan_in=32)
    up = net.node("ConvTranspose", low, weights, net.bias(24), strides=[2, 2], kernel_shape=[2, 2])
    middle = net.node("Relu", net.conv(net.node("Concat", up, middle, axis=1), 48, 24, 3))
    up = _resize(net, middle, "linear", "half_pixel")
    up = net.node("Add", up, _resize(net, middle, "nearest", "asymmetric"))
    high = net.node("Relu", net.conv(net.node("Concat", up, high, axis=1), 40, 16, 3))
    return net.model({net.node("Sigmoid", net.conv(high, 16, 2, 1), name="mask"): [1, 2, 32, 24]})


def audio() -> onnx.ModelProto:
    """1-D convolutions: strided, dilated, depthwise, with BatchNormalization."""
    net = Graph("audio", 5)
    x = net.input("samples", [1, 1, 400])
    x = _conv1d(net, x, 1, 16, 16, strides=[4], pads=[6, 6])
    x = net.node("Relu", _batch_norm(net, x, 16))
    x = _conv1d(net, x, 16, 16, 3, groups=16, pads=[1, 1])
    x = net.node("Relu", _conv1d(net, x, 16, 24, 1))
    x = net.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = net.node("Elu", _conv1d(net, x, 24, 24, 3, dilations=[2], pads=[2, 2]))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model({net.node("LogSoftmax", net.gemm(x, 24, 12), axis=1): [1, 12]})


def shufflenet() -> onnx.ModelProto:
    """A ShuffleNet unit: grouped 1x1 convolutions, channel shuffle, split and concatenation."""
    net = Graph("shufflenet", 6)
    x = net.node("Relu", net.conv(net.input("x", [1, 3, 24, 24]), 3, 32, 3, stride=2))
    y = _shuffle(net, net.node("Relu", net.conv(x, 32, 32, 1, groups=4)), [1, 32, 12, 12], 4)
    y = net.conv(net.conv(y, 32, 32, 3, groups=32), 32, 32, 1, groups=4)
    x = net.node("Relu", net.node("Add", x, y))
    left, right = net.nodes("Split", x, outputs=2, axis=1)
    right = net.node("Relu", net.conv(right, 16, 16, 3))
    x = _shuffle(net, net.node("Concat", left, right, axis=1), [1, 32, 12, 12], 2)
    pooled = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model({net.gemm(pooled, 32, 10): [1, 10]})


def densenet() -> onnx.ModelProto:
    """Pre-activation with BatchNormalization that no convolution can take in, and growth."""
    net = Graph("densenet", 7)
    x = net.conv(net.input("x", [2, 3, 20, 20]), 3, 12, 3, stride=2)
    for channels in (12, 20):
        y = net.node("Relu", _batch_norm(net, x, channels))
        x = net.node("Concat", x, net.conv(y, channels, 8, 3), axis=1)
    y = net.node("PRelu", x, net.constant(np.full((28, 1, 1), 0.2, "float32")))
    y = net.node("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = net.node("Flatten", net.node("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2]))
    return net.model({net.gemm(y, 28 * 4, 10): [2, 10]})


def super_resolution() -> onnx.ModelProto:
    """Three convolutions and pixels from channels; reflecting pads; tanh."""
    net = Graph("super_resolution", 8)
    x = net.input("x", [1, 1, 18, 14])
    pads = net.constant(np.array([0, 0, 2, 2, 0, 0, 2, 2], "int64"))
    x = net.node("Pad", x, pads, mode="reflect")
    kernel = net.weights(16, 1, 5, 5, fan_in=25)
    x = net.node("Tanh", net.node("Conv", x, kernel, net.bias(16), kernel_shape=[5, 5]))
    x = net.conv(net.node("Tanh", net.conv(x, 16, 16, 3)), 16, 9, 3)
    x = net.node("DepthToSpace", x, blocksize=3, mode="CRD")
    return net.model({net.node("Clip", x, net.scalar(-1), net.scalar(1)): [1, 1, 54, 42]})


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    network.__name__: network
    for network in (
        transformer,
        decomposed_transformer,
        squeeze_excite,
        unet,
        audio,
        shufflenet,
        densenet,
        super_resolution,
    )
}


def lstm() -> onnx.ModelProto:
    """A recurrent network, which has no lowering."""
    net = Graph("lstm", 9)
    x = net.input("x", [5, 1, 8])
    gates = net.weights(1, 64, 8, fan_in=8), net.weights(1, 64, 16, fan_in=16)
    y = net.node("LSTM", x, *gates, name="recurrent", hidden_size=16)
    return net.model({y: [5, 1, 1, 16]})


def _layer_norm(net: Graph, x: str, width: int) -> str:
    scale = net.constant(net.rng.uniform(0.5, 1.5, width).astype("float32"))
    return net.node("LayerNormalization", x, scale, net.bias(width), axis=-1)


def _batch_norm(net: Graph, x: str, channels: int) -> str:
    scale, variance = (
        net.constant(net.rng.uniform(0.5, 1.5, channels).astype("float32")) for _ in range(2)
    )
    mean = net.bias(channels)
    return net.node("BatchNormalization", x, scale, net.bias(channels), mean, variance)


def _gelu(net: Graph, x: str) -> str:
    error = net.node("Erf", net.node("Div", x, net.scalar(2**0.5)))
    half = net.node("Mul", x, net.scalar(0.5))
    return net.node("Mul", half, net.node("Add", error, net.scalar(1)))


def _tanh_gelu(net: Graph, x: str) -> str:
    cube = net.node("Mul", net.node("Pow", x, net.scalar(3)), net.scalar(0.044715))
    inner = net.node("Mul", net.node("Add", x, cube), net.scalar((2 / np.pi) ** 0.5))
    outer = net.node("Add", net.node("Tanh", inner), net.scalar(1))
    return net.node("Mul", net.node("Mul", x, outer), net.scalar(0.5))


def _resize(net: Graph, x: str, mode: str, coordinates: str) -> str:
    scales = net.constant(np.array([1, 1, 2, 2], "float32"))
    options = {"nearest_mode": "floor"} if mode == "nearest" else {}
    return net.node(
        "Resize",
        x,
        "",
        scales,
        mode=mode,
        coordinate_transformation_mode=coordinates,
        **options,
    )


def _conv1d(
    net: Graph, x: str, inputs: int, outputs: int, kernel: int, groups: int = 1, **window: Shape
) -> str:
    depth = inputs // groups
    weights = net.weights(outputs, depth, kernel, fan_in=depth * kernel)
    return net.node("Conv", x, weights, net.bias(outputs), group=groups, **window)


def _shuffle(net: Graph, x: str, shape: Shape, groups: int) -> str:
    n, channels, height, width = shape
    split = np.array([n, groups, channels // groups, height, width], "int64")
    y = net.node("Transpose", net.node("Reshape", x, net.constant(split)), perm=[0, 2, 1, 3, 4])
    return net.node("Reshape", y, net.constant(np.array(shape, "int64")))
