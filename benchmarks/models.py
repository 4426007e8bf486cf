"""Networks with seeded random weights, as ONNX: float32, and int8 by onnxruntime's quantizer.

    python benchmarks/models.py resnet18 -o FOLDER

BatchNorm is folded into the convolutions. The weights are random, of a size that keeps
activations near 1: what these networks compute means nothing, how fast they run does.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import onnx
from graph import Graph
from quantized import quantize_int8, random_inputs

SEED = 0
CALIBRATION_SAMPLES = 4
RESIDUAL_GAIN = 0.5  # of the last convolution of a residual block, so that sums do not grow


def resnet18() -> onnx.ModelProto:
    """ResNet-18 (He et al. 2015, table 1), 224x224."""
    net = Graph("resnet18", SEED)
    x = net.input("input", [1, 3, 224, 224])
    x = net.node("Relu", net.conv(x, 3, 64, 7, stride=2, name="conv1"))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(net, x, channels, width, stride, f"layer{stage}.{block}")
            channels = width
    return _classifier(net, x, channels, 1000)


def resnet8() -> onnx.ModelProto:
    """ResNet-8 of MLPerf Tiny (Banbury et al. 2021), 32x32."""
    net = Graph("resnet8", SEED)
    x = net.input("input", [1, 3, 32, 32])
    x = net.node("Relu", net.conv(x, 3, 16, 3, name="conv1"))
    channels = 16
    for stage, width in enumerate((16, 32, 64), 1):
        stride = 1 if stage == 1 else 2
        x = _basic_block(net, x, channels, width, stride, f"layer{stage}")
        channels = width
    return _classifier(net, x, channels, 10)


# Expansion, output channels, blocks, stride of the first (Sandler et al. 2018, table 2).
BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 (Sandler et al. 2018), 224x224."""
    net = Graph("mobilenet_v2", SEED)
    x = net.input("input", [1, 3, 224, 224])
    x = _relu6(net, net.conv(x, 3, 32, 3, stride=2, name="conv1"))
    channels = 32
    for stage, (expansion, width, blocks, stride) in enumerate(BOTTLENECKS, 1):
        for block in range(blocks):
            name = f"block{stage}.{block}"
            first = stride if block == 0 else 1
            x = _inverted_residual(net, x, channels, width, expansion, first, name)
            channels = width
    x = _relu6(net, net.conv(x, channels, 1280, 1, name="conv_last"))
    return _classifier(net, x, 1280, 1000)


def _basic_block(net: Graph, x: str, inputs: int, outputs: int, stride: int, name: str) -> str:
    y = net.node("Relu", net.conv(x, inputs, outputs, 3, stride=stride, name=f"{name}.conv1"))
    y = net.conv(y, outputs, outputs, 3, gain=RESIDUAL_GAIN, name=f"{name}.conv2")
    if stride != 1 or inputs != outputs:
        x = net.conv(x, inputs, outputs, 1, stride=stride, gain=0.7, name=f"{name}.shortcut")
    return net.node("Relu", net.node("Add", y, x))


def _inverted_residual(
    net: Graph, x: str, inputs: int, outputs: int, expansion: int, stride: int, name: str
) -> str:
    y, width = x, inputs * expansion
    if expansion != 1:
        y = _relu6(net, net.conv(y, inputs, width, 1, name=f"{name}.expand"))
    depthwise = net.conv(y, width, width, 3, stride=stride, groups=width, name=f"{name}.depthwise")
    y = net.conv(_relu6(net, depthwise), width, outputs, 1, gain=0.7, name=f"{name}.project")
    return net.node("Add", y, x) if stride == 1 and inputs == outputs else y


def _relu6(net: Graph, x: str) -> str:
    return net.node("Clip", x, net.scalar(0), net.scalar(6))


def _classifier(net: Graph, x: str, channels: int, classes: int) -> onnx.ModelProto:
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model({net.gemm(x, channels, classes, name="classifier"): [1, classes]})


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "resnet8": resnet8,
}


def model_file(name: str, form: str, folder: Path) -> Path:
    """The file of a network in `folder`, written where it is missing. form: fp32 or int8."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{form}.onnx"
    if path.exists():
        return path
    if form == "fp32":
        onnx.save(NETWORKS[name](), path)
    else:
        float_model = model_file(name, "fp32", folder)
        quantize_int8(float_model, path, random_inputs(float_model, CALIBRATION_SAMPLES, SEED))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a network as fp32 and int8 ONNX files.")
    parser.add_argument("networks", nargs="+", choices=sorted(NETWORKS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args()
    for name in options.networks:
        for form in ("fp32", "int8"):
            print(model_file(name, form, options.output))


if __name__ == "__main__":
    main()
