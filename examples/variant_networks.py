"""Several networks in one library, over one block of weights, and what that saves.

    python examples/variant_networks.py thinnable -o FOLDER
    python examples/variant_networks.py adaptive -o FOLDER

`thinnable` (Qin et al. 2022, BiFSMN): eight residual blocks of binary convolutions, of which four,
two or one may also run alone. The depths share the weights; each has normalizations of its own.
`adaptive` (Jin et al. 2020, AdaBits): weights of 4 bits; the upper ones are those of 2 bits and of
one. Weights are random: the networks show sizes and speeds, and classify nothing.

The models and `variants.json` are written to FOLDER, and the library to FOLDER/build.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

import qcompile

OPSET = 17
IR_VERSION = 10  # what onnxruntime's releases of the last years read
QONNX = "qonnx.custom_op.general"

# The blocks that each depth runs, and the widths of the adaptive network; the first is the model.
DEPTHS = {"depth_8": range(8), "depth_4": (1, 3, 5, 7), "depth_2": (3, 7), "depth_1": (7,)}
WIDTHS = {"bits_4": 4, "bits_2": 2, "bits_1": 1}
WIDEST = max(WIDTHS.values())
CLASSES = 12
STREAM_SCALE, STREAM_BITS = 2**-4, 8  # of the activations between blocks: they reach about 8


class Network:
    """An ONNX network under construction: methods add nodes and return the last one's output.

    Random weights depend on their place alone, normalizations on the variant, too.
    """

    def __init__(self, variant: str, size: int) -> None:
        self.variant = variant
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.size = size

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, domain=domain, **attributes))
        return name

    def constant(self, value: np.ndarray | float, dtype: str = "float32") -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def quant(self, x: str, scale: float, bits: int, signed: bool = True) -> str:
        parameters = [self.constant(value) for value in (scale, 0, bits)]
        attributes = {"signed": int(signed), "narrow": 0, "rounding_mode": "ROUND"}
        return self.node("Quant", x, *parameters, domain=QONNX, **attributes)

    def stream(self, x: str) -> str:
        return self.quant(x, STREAM_SCALE, STREAM_BITS)

    def signs(self, x: str) -> str:
        return self.node("BipolarQuant", x, self.constant(1.0), domain=QONNX)

    def conv(self, x: str, codes: np.ndarray, scale: float) -> str:
        """A convolution with weights codes (O, C, K, K) times `scale`."""
        around = [codes.shape[-1] // 2] * 4
        weights = self.constant(codes, "int8")
        weights = self.node("DequantizeLinear", weights, self.constant(scale))
        return self.node("Conv", x, weights, pads=around)

    def normalize(self, x: str, channels: int, place: int, gain: float) -> str:
        """Batch normalization of this variant, some channels turned around."""
        rng = np.random.default_rng([place, *self.variant.encode()])
        signs = np.where(rng.random(channels) < 0.2, -1, 1)
        gamma = gain * signs * rng.uniform(0.5, 1.5, channels)
        beta, mean = rng.normal(0, 0.3, (2, channels))
        parameters = (gamma, beta, mean, rng.uniform(0.5, 1.5, channels))
        return self.node("BatchNormalization", x, *map(self.constant, parameters))

    def classifier(self, x: str, channels: int) -> onnx.ModelProto:
        """The network whose last activations are `x`."""
        codes = np.random.default_rng(99).integers(-127, 128, (channels, CLASSES))
        x = self.stream(self.node("Flatten", self.node("GlobalAveragePool", x)))
        weights = self.node("DequantizeLinear", self.constant(codes, "int8"), self.constant(0.01))
        self.nodes.append(helper.make_node("MatMul", [x, weights], ["scores"], "classifier"))
        image = helper.make_tensor_value_info("image", 1, [1, 3, self.size, self.size])
        result = helper.make_tensor_value_info("scores", 1, [1, CLASSES])
        graph = helper.make_graph(self.nodes, self.variant, [image], [result], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def thinnable(variant: str, channels: int = 64, size: int = 16) -> onnx.ModelProto:
    """The network at one of DEPTHS."""
    net = Network(variant, size)
    x = _stem(net, channels)
    for block in DEPTHS[variant]:
        codes = np.random.default_rng(block).choice([-1, 1], (channels, channels, 3, 3))
        y = net.conv(net.signs(x), codes, 1 / np.sqrt(9 * channels))
        x = net.stream(net.node("Add", net.normalize(y, channels, block, 0.5), x))
    return net.classifier(x, channels)


def adaptive(
    variant: str, channels: int = 64, size: int = 16, layers: int = 4, data_bits: int | None = None
) -> onnx.ModelProto:
    """The network at one of WIDTHS, of weights and (but for data_bits) activations."""
    net, bits = Network(variant, size), WIDTHS[variant]
    data_bits = data_bits or bits
    x = _stem(net, channels)
    for layer in range(layers):
        values = np.random.default_rng(layer).random((channels, channels, 3, 3))
        codes = floor_codes(values, bits)
        step = 2.0 ** (2 - data_bits)
        data = net.quant(x, step, data_bits, signed=False)
        y = net.conv(data, 2 * codes - (2**bits - 1), 1 / np.sqrt(9 * channels) / 2**bits)
        x = net.stream(net.node("Add", net.normalize(y, channels, layer, 0.5), x))
    return net.classifier(x, channels)


def floor_codes(values: np.ndarray, bits: int) -> np.ndarray:
    """min(floor(2^bits v), 2^bits - 1) of v in [0, 1]: fewer bits are the upper ones of more."""
    return np.minimum(np.floor(2**bits * values), 2**bits - 1).astype("int64")


def _stem(net: Network, channels: int) -> str:
    """The image in 8 bits through an 8-bit convolution, to the stream of activations."""
    codes = np.random.default_rng(98).integers(-127, 128, (channels, 3, 3, 3))
    y = net.conv(net.quant("image", 2**-5, 8), codes, 0.004)
    return net.stream(net.normalize(y, channels, 97, 1.0))


def write(family: str, folder: Path) -> tuple[Path, Path]:
    """The first network of a family and its file of variants, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    variants = DEPTHS if family == "thinnable" else WIDTHS
    network = thinnable if family == "thinnable" else adaptive
    for variant in variants:
        onnx.save(network(variant), folder / f"{variant}.onnx")
    first, *others = variants
    listed = {variant: {"model": f"{variant}.onnx"} for variant in others}
    file = folder / "variants.json"
    file.write_text(json.dumps({"variants": listed}, indent=2) + "\n")
    return folder / f"{first}.onnx", file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=["thinnable", "adaptive"])
    parser.add_argument("-o", dest="output", type=Path, required=True)
    arguments = parser.parse_args()

    model, variants = write(arguments.family, arguments.output)
    folder = arguments.output / "build"
    bundle = qcompile.compile(model, "host", folder, name="network", variants=variants)
    alone = sum(variant.weight_bytes_alone for variant in bundle.variants)
    print(f"weights: {bundle.weight_bytes} bytes; in bundles of their own {alone}")

    network = qcompile.load(folder)
    image = np.random.default_rng(0).normal(0, 1, network.inputs[0].shape).astype("float32")
    for variant in bundle.variants:
        scores = network.variant(variant.name)(image)
        assert isinstance(scores, np.ndarray)
        (measured,) = qcompile.bench(folder, variant=variant.name, repeat=200).latencies
        print(f"{variant.name:10} {1e6 * measured.median_s:7.1f} us  class {scores.argmax()}")


if __name__ == "__main__":
    main()
