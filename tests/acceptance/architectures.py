"""Pieces of well-known architectures that networks.py does not have, with seeded weights."""

from collections.abc import Callable

import numpy as np
import onnx
from graph import Graph


def vision_transformer() -> onnx.ModelProto:
    """Patches by a strided convolution, a class token, one attention layer by Einsum."""
    net, width = Graph("vision_transformer", 20), 32
    x = net.input("x", [1, 3, 32, 32])
    kernel = net.weights(width, 3, 8, 8, fan_in=192)
    x = net.node("Conv", x, kernel, net.bias(width), kernel_shape=[8, 8], strides=[8, 8])
    x = net.node("Transpose", _reshape(net, x, [1, width, 16]), perm=[0, 2, 1])
    token = net.constant(net.rng.normal(0, 0.5, (1, 1, width)).astype("float32"))
    x = net.node("Concat", token, x, axis=1)
    joined = net.dense(x, width, 3 * width, gain=0.7)
    split = net.node("Transpose", _reshape(net, joined, [1, 17, 3, 4, 8]), perm=[2, 0, 3, 1, 4])
    q, k, v = (
        net.node("Gather", split, net.constant(np.array(part, "int64")), axis=0)
        for part in range(3)
    )
    scores = net.node("Einsum", q, k, equation="bhid,bhjd->bhij")
    shares = net.node("Softmax", net.node("Mul", scores, net.scalar(8**-0.5)), axis=-1)
    mixed = net.node("Einsum", shares, v, equation="bhij,bhjd->bhid")
    mixed = _reshape(net, net.node("Transpose", mixed, perm=[0, 2, 1, 3]), [1, 17, width])
    x = net.node("Add", x, net.dense(mixed, width, width))
    first = net.node("Gather", x, net.constant(np.array(0, "int64")), axis=1)
    return net.model({net.gemm(first, width, 10): [1, 10]})


def convnext() -> onnx.ModelProto:
    """7x7 depthwise, normalization over channels between transpositions, layer scale."""
    net, width = Graph("convnext", 21), 16
    x = net.conv(net.input("x", [1, 3, 24, 24]), 3, width, 3, stride=2)
    y = net.node("Transpose", net.conv(x, width, width, 7, groups=width), perm=[0, 2, 3, 1])
    scale = net.constant(net.rng.uniform(0.5, 1.5, width).astype("float32"))
    y = net.node("LayerNormalization", y, scale, net.bias(width), axis=-1)
    y = net.dense(y, width, 4 * width)
    sigmoid = net.node("Sigmoid", net.node("Mul", y, net.scalar(1.702)))
    y = net.dense(net.node("Mul", y, sigmoid), 4 * width, width)
    y = net.node("Mul", y, net.constant(np.full(width, 0.3, "float32")))
    x = net.node("Add", x, net.node("Transpose", y, perm=[0, 3, 1, 2]))
    return net.model({net.node("ReduceMean", x, axes=[2, 3], keepdims=0): [1, width]})


def inception() -> onnx.ModelProto:
    """Branches of other kernels, 1x7 and 7x1, pools that keep the size, one concatenation."""
    net = Graph("inception", 22)
    x = net.node("Relu", net.conv(net.input("x", [2, 3, 17, 17]), 3, 16, 3))
    row, column = net.weights(12, 16, 1, 7, fan_in=112), net.weights(12, 12, 7, 1, fan_in=84)
    flat = net.node("Conv", x, row, net.bias(12), kernel_shape=[1, 7], pads=[0, 3, 0, 3])
    flat = net.node("Conv", flat, column, kernel_shape=[7, 1], pads=[3, 0, 3, 0])
    pool = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
    mean = net.conv(net.node("AveragePool", x, count_include_pad=1, **pool), 16, 8, 1)
    largest = net.conv(net.node("MaxPool", x, **pool), 16, 10, 1)
    x = net.node("Relu", net.node("Concat", flat, mean, largest, axis=1))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = net.conv(x, 30, 24, 3, stride=2)
    return net.model({net.node("Flatten", x): [2, 24 * 16]})


def detector() -> onnx.ModelProto:
    """A YOLO head: SiLU, split, concatenation of scales, boxes from a grid; two outputs."""
    net = Graph("detector", 23)
    x = _silu(net, net.conv(net.input("x", [1, 3, 32, 32]), 3, 16, 3, stride=2))
    low = _silu(net, net.conv(x, 16, 24, 3, stride=2))
    heads = []
    for features, channels, size in ((x, 16, 16), (low, 24, 8)):
        head = net.conv(features, channels, 7, 1)
        heads.append(_reshape(net, head, [1, 7, size * size]))
    every = net.node("Concat", *heads, axis=2)
    parts = net.constant(np.array([2, 2, 3], "int64"))
    centre, extent, scores = net.nodes("Split", every, parts, outputs=3, axis=1)
    grid = net.constant(net.rng.uniform(0, 16, (1, 2, 320)).astype("float32"))
    centre = net.node("Add", net.node("Sigmoid", centre), grid)
    boxes = net.node("Concat", centre, net.node("Exp", extent), axis=1, name="boxes")
    scores = net.node("Sigmoid", scores, name="scores")
    return net.model({boxes: [1, 4, 320], scores: [1, 3, 320]})


def segmentation() -> onnx.ModelProto:
    """DeepLab: dilated branches, a pooled branch stretched back, corners aligned."""
    net = Graph("segmentation", 24)
    x = net.node("Relu", net.conv(net.input("x", [1, 3, 24, 32]), 3, 16, 3, stride=2))
    branches = [net.conv(x, 16, 8, 1)]
    for dilation in (2, 4):
        kernel = net.weights(8, 16, 3, 3, fan_in=144)
        window = {"kernel_shape": [3, 3], "dilations": [dilation] * 2, "pads": [dilation] * 4}
        branches.append(net.node("Conv", x, kernel, net.bias(8), **window))
    pooled = net.node("Relu", net.conv(net.node("GlobalAveragePool", x), 16, 8, 1))
    branches.append(_stretch(net, pooled, [1, 8, 12, 16], "nearest", "asymmetric"))
    x = net.node("Relu", net.conv(net.node("Concat", *branches, axis=1), 32, 5, 1))
    x = _stretch(net, x, [1, 5, 24, 32], "linear", "align_corners")
    return net.model({net.node("ArgMax", x, axis=1, keepdims=0): [1, 24, 32]}, dtype="int64")


def style() -> onnx.ModelProto:
    """Instance normalization, reflecting pads, transposed convolution with output padding."""
    net = Graph("style", 25)
    x = net.input("x", [1, 3, 20, 20])
    pads = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], "int64"))
    kernel = net.weights(12, 3, 3, 3, fan_in=27)
    x = net.node("Pad", x, pads, mode="reflect")
    x = net.node("Conv", x, kernel, net.bias(12), kernel_shape=[3, 3], strides=[2, 2])
    ones = net.constant(np.ones(12, "float32"))
    x = net.node("Relu", net.node("InstanceNormalization", x, ones, net.bias(12)))
    up = net.weights(12, 6, 3, 3, fan_in=108)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}
    x = net.node("ConvTranspose", x, up, net.bias(6), **window)
    return net.model({net.node("Tanh", net.conv(x, 6, 3, 3)): [1, 3, 20, 20]})


def keyword_spotting() -> onnx.ModelProto:
    """DS-CNN with odd sizes: 49x10 features, kernel 10x4, depthwise blocks, pooled by a window."""
    net = Graph("keyword_spotting", 26)
    kernel = net.weights(20, 1, 10, 4, fan_in=40)
    window = {"kernel_shape": [10, 4], "strides": [2, 2], "pads": [4, 1, 5, 1]}
    x = net.node("Conv", net.input("x", [3, 1, 49, 10]), kernel, net.bias(20), **window)
    for _ in range(2):
        x = net.node("Relu", net.conv(x, 20, 20, 3, groups=20))
        x = net.node("Relu", net.conv(x, 20, 20, 1))
    x = net.node("AveragePool", x, kernel_shape=[25, 5])
    scores = net.gemm(net.node("Flatten", x), 20, 12)
    return net.model({net.node("Softmax", scores, axis=1): [3, 12]})


ARCHITECTURES: dict[str, Callable[[], onnx.ModelProto]] = {
    network.__name__: network
    for network in (
        vision_transformer,
        convnext,
        inception,
        detector,
        segmentation,
        style,
        keyword_spotting,
    )
}


def _reshape(net: Graph, x: str, shape: list[int]) -> str:
    return net.node("Reshape", x, net.constant(np.array(shape, "int64")))


def _silu(net: Graph, x: str) -> str:
    return net.node("Mul", x, net.node("Sigmoid", x))


def _stretch(net: Graph, x: str, shape: list[int], mode: str, coordinates: str) -> str:
    """x interpolated to `shape`."""
    size = net.constant(np.array(shape, "int64"))
    options = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        options["nearest_mode"] = "floor"
    return net.node("Resize", x, "", "", size, **options)
