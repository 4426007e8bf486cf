"""ResNet-18 with weights and activations of few bits inside, as QONNX, seeded random weights.

    python benchmarks/low_bit_networks.py resnet18_w1a1 resnet18_w1a2 -o FOLDER

The first convolution, the shortcuts and the classifier have 8 bits. A convolution inside takes the
signs, or the codes of few bits, of an 8-bit residual stream, and is added to it after its batch
normalization: one shortcut for each convolution (Liu et al. 2018, Bi-Real Net, figure 3).
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from graph import Graph

SEED = 0
QONNX = "qonnx.custom_op.general"
STREAM_SCALE, STREAM_BITS = 2**-4, 8  # activations reach about 8
IMAGE_SCALE = 2**-5


class LowBitGraph(Graph):
    """A graph with QONNX quantizers."""

    def quant(self, x: str, scale: np.ndarray | float, bits: int, signed: bool = True) -> str:
        parameters = (self.constant(np.asarray(scale, "float32")), self.scalar(0))
        attributes = {"signed": int(signed), "narrow": 0, "rounding_mode": "ROUND"}
        return self.node("Quant", x, *parameters, self.scalar(bits), domain=QONNX, **attributes)

    def bipolar(self, x: str, scale: np.ndarray | float) -> str:
        factor = self.constant(np.asarray(scale, "float32"))
        return self.node("BipolarQuant", x, factor, domain=QONNX)

    def stream(self, x: str) -> str:
        return self.quant(x, STREAM_SCALE, STREAM_BITS)

    def normalize(self, x: str, channels: int, gain: float) -> str:
        """Batch normalization with random parameters, some channels turned around."""
        signs = np.where(self.rng.random(channels) < 0.2, -1, 1)
        gamma = gain * signs * self.rng.uniform(0.5, 1.5, channels)
        beta, mean = self.rng.normal(0, 0.3, (2, channels))
        parameters = (gamma, beta, mean, self.rng.uniform(0.5, 1.5, channels))
        named = [self.constant(p.astype("float32")) for p in parameters]
        return self.node("BatchNormalization", x, *named)

    def int8_conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int, name: str
    ) -> str:
        depth = inputs * kernel**2
        weights = self.rng.normal(0, 1 / np.sqrt(depth), (outputs, inputs, kernel, kernel))
        scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
        w = self.quant(self.constant(weights.astype("float32")), scale, 8)
        return self._conv(x, w, kernel, stride, name)

    def low_bit_conv(
        self, x: str, inputs: int, outputs: int, stride: int, bits: tuple[int, int], name: str
    ) -> str:
        """3 x 3, on the stream `x`; bits: of weights (1: signs) and activations (1: signs)."""
        w_bits, a_bits = bits
        weights = self.rng.normal(0, 1, (outputs, inputs, 3, 3)).astype("float32")
        alpha = 1 / np.sqrt(9 * inputs)
        w = self.constant(weights)
        if w_bits == 1:
            w = self.bipolar(w, np.full((outputs, 1, 1, 1), alpha))
        else:
            w = self.quant(w, np.full((outputs, 1, 1, 1), alpha), w_bits)
        data = self.bipolar(x, 1.0) if a_bits == 1 else self.quant(x, 1.0, a_bits, signed=False)
        return self._conv(data, w, 3, stride, name)

    def _conv(self, x: str, w: str, kernel: int, stride: int, name: str) -> str:
        around = [kernel // 2] * 4
        return self.node("Conv", x, w, name=name, strides=[stride] * 2, pads=around)


def resnet18(w_bits: int, a_bits: int) -> onnx.ModelProto:
    """ResNet-18 (He et al. 2015, table 1), 224x224, 3x3 layers of `w_bits` and `a_bits`."""
    net = LowBitGraph(f"resnet18_w{w_bits}a{a_bits}", SEED)
    x = net.quant(net.input("input", [1, 3, 224, 224]), IMAGE_SCALE, 8)
    x = net.normalize(net.int8_conv(x, 3, 64, 7, 2, "conv1"), 64, 1.0)
    x = net.stream(x)
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            for half in (1, 2):
                stride = 2 if stage > 1 and block == 0 and half == 1 else 1
                name = f"layer{stage}.{block}.conv{half}"
                y = net.low_bit_conv(x, channels, width, stride, (w_bits, a_bits), name)
                y = net.normalize(y, width, 0.5)
                if channels != width:
                    shortcut = f"layer{stage}.{block}.shortcut"
                    x = net.normalize(
                        net.int8_conv(x, channels, width, 1, stride, shortcut), width, 0.7
                    )
                x = net.stream(net.node("Add", y, x))
                channels = width
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    weights = net.rng.normal(0, 1 / np.sqrt(channels), (channels, 1000)).astype("float32")
    scale = np.abs(weights).max(axis=0, keepdims=True) / 127
    logits = net.node(
        "MatMul", net.stream(x), net.quant(net.constant(weights), scale, 8), name="classifier"
    )
    return net.model({logits: [1, 1000]}, opsets={QONNX: 1})


NETWORKS = {f"resnet18_w{w}a{a}": (w, a) for w, a in ((1, 1), (1, 2), (2, 2), (4, 4), (8, 8))}


def model_file(name: str, folder: Path) -> Path:
    """The file of a network in `folder`, written where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    if not path.exists():
        onnx.save(resnet18(*NETWORKS[name]), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write low-bit networks as QONNX files.")
    parser.add_argument("networks", nargs="+", choices=sorted(NETWORKS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args()
    for name in options.networks:
        print(model_file(name, options.output))


if __name__ == "__main__":
    main()
