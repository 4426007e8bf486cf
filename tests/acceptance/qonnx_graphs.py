"""Random small QONNX networks: convolutions, products, batch normalization, sums, pools.

With `exact` every scale is a power of two and no value needs more than float32's 24 bits, so that
onnxruntime's sums hold no rounding and every code has one right value, ties included. Otherwise the
scales are arbitrary.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from graph import Graph

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
NEAREST = ("ROUND", "HALF_EVEN", "round", "HALF_UP", "HALF_DOWN")
MODES = (*NEAREST, "CEIL", "FLOOR", "UP", "DOWN")
SUM_BITS = 17  # of a product's sums; batch normalization takes four more, quantizers two


@dataclass(frozen=True)
class Tensor:
    """A value of the network: |x| <= largest * unit, and a multiple of unit where all is exact.

    typical: what |x| / unit is about, for scales and limits that meet it.
    """

    name: str
    shape: tuple[int, ...]
    unit: float
    largest: float
    typical: float


class RandomNetwork:
    def __init__(self, seed: int, exact: bool) -> None:
        self.net = Graph(f"random_{seed}", seed)
        self.rng = self.net.rng
        self.exact = exact
        self.domain = str(self.rng.choice(DOMAINS))

    def model(self) -> onnx.ModelProto:
        channels, size = int(self.rng.integers(1, 5)), int(self.rng.choice([4, 6, 8]))
        shape = (1, channels, size, size)
        x = Tensor(self.net.input("x", list(shape)), shape, 2**-6, 2**8, 2**7)
        x = self.quantizer(x, most=8)
        for _ in range(self.rng.integers(1, 4)):
            x = self.block(x)
        x = self.dense(self.flat(x), int(self.rng.integers(2, 8)))
        if self.chance(0.3):
            x = self.quantizer(x)
        return self.net.model({x.name: list(x.shape)}, opsets={self.domain: 1})

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.net.node(operator, *inputs, domain=self.domain, **attributes)

    def array(self, values: Any) -> str:
        return self.net.constant(np.asarray(values, "float32"))

    def scale(self, wanted: float) -> float:
        """A scale near `wanted`."""
        scale = 2.0 ** np.round(np.log2(wanted))
        return scale if self.exact else float(np.float32(scale * self.rng.uniform(0.7, 1.4)))

    def block(self, x: Tensor) -> Tensor:
        """A convolution with what may follow it, up to the next codes."""
        if self.chance(0.2):
            return self.residual(x)
        x = self.convolution(x)
        x = self.normalized(x) if self.chance(0.7) else x
        x = self.activated(x)
        if self.chance(0.2):
            x = self.max_pool(x)
        x = self.quantizer(x)
        if self.chance(0.2):
            x = self.max_pool(x)
        elif self.chance(0.2):
            x = self.quantizer(self.average_pool(x))
        return x

    def residual(self, x: Tensor) -> Tensor:
        """x + f(x), both quantized, quantized again."""
        y = self.convolution(x, channels=x.shape[1], stride=1, kernel=3)
        y = self.quantizer(self.normalized(y))
        x = self.quantizer(x) if self.chance(0.5) else x
        total = self.net.node("Add", x.name, y.name)
        unit = min(x.unit, y.unit)
        largest = (x.unit * x.largest + y.unit * y.largest) / unit
        typical = (x.unit * x.typical + y.unit * y.typical) / unit
        return self.quantizer(self.activated(Tensor(total, x.shape, unit, largest, typical)))

    def convolution(self, x: Tensor, channels: int = 0, stride: int = 0, kernel: int = 0) -> Tensor:
        inputs, size = x.shape[1], x.shape[2]
        channels = channels or int(self.rng.integers(1, 10))
        kernel = kernel or int(self.rng.choice([1, 3] if size > 1 else [1]))
        stride = stride or int(self.rng.choice([1, 2]))
        groups = inputs if self.chance(0.2) else 1
        channels = -(-channels // groups) * groups if groups == 1 or channels != inputs else inputs
        depth = inputs // groups * kernel**2
        w = self.weights(x, (channels, inputs // groups, kernel, kernel), depth, 0)
        inputs_of = [x.name, w.name]
        if self.chance(0.3):
            bias, largest = self.bias(x, w, channels)
            inputs_of.append(bias)
        else:
            largest = 0.0
        pad = kernel // 2
        name = self.net.node(
            "Conv",
            *inputs_of,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )
        extent = (size + 2 * pad - kernel) // stride + 1
        shape = (1, channels, extent, extent)
        return self.product(name, x, w, shape, depth, largest)

    def product(
        self, name: str, x: Tensor, w: Tensor, shape: tuple[int, ...], depth: int, bias: float = 0
    ) -> Tensor:
        largest = x.largest * w.largest * depth + bias
        typical = x.typical * w.typical * np.sqrt(depth) + bias / 2
        return Tensor(name, shape, x.unit * w.unit, largest, typical)

    def bias(self, x: Tensor, w: Tensor, channels: int) -> tuple[str, float]:
        """A bias of 16 bits in multiples of a sum's unit, as a quantizer's result or as it is."""
        unit = x.unit * w.unit
        largest = max(1, int(x.typical * w.typical))
        bias = self.array(self.rng.integers(-largest, largest + 1, channels) * unit)
        if self.chance(0.5):
            parameters = (self.array(unit), self.array(0), self.array(16))
            bias = self.node("Quant", bias, *parameters, signed=1, narrow=0)
        return bias, largest

    def weights(self, x: Tensor, shape: tuple[int, ...], depth: int, axis: int) -> Tensor:
        """Quantized weights that keep the sums within SUM_BITS."""
        left = SUM_BITS - np.log2(x.largest) - np.ceil(np.log2(depth))
        bits = int(self.rng.integers(1, max(2, min(8, int(left) - 2))))
        channels = shape[axis]
        spread = [1] * len(shape)
        if self.chance(0.5):
            spread[axis] = channels
        exponents = self.rng.integers(-3, 0, spread)
        scales = np.vectorize(self.scale)(2.0**exponents)
        floats = self.array(self.rng.normal(0, 2.0 ** (bits - 3), shape))
        if bits == 1 and self.chance(0.7):
            name = self.node("BipolarQuant", floats, self.array(scales))
        else:
            parameters = (self.array(scales), self.array(0), self.array(bits))
            name = self.node("Quant", floats, *parameters, **self.kind(bits))
        smallest = float(scales.min())
        spread_of = float(scales.max()) / smallest
        largest = 2.0 ** (bits - 1)
        return Tensor(name, shape, smallest, largest * spread_of, max(largest / 2, 1))

    def kind(self, bits: int, signed: bool = True) -> dict[str, Any]:
        narrow = int(self.chance(0.5)) if bits > 1 or signed else 0
        mode = str(self.rng.choice(MODES))
        return {"signed": int(signed), "narrow": narrow, "rounding_mode": mode}

    def normalized(self, x: Tensor) -> Tensor:
        """Batch normalization, its factors of either sign and 0 among them."""
        channels = x.shape[1]
        factor = self.rng.choice([-2, -1.5, -1, -0.5, 0, 0.5, 0.75, 1, 1.5, 2], channels)
        deviation = self.rng.choice([0.5, 1, 2], channels)
        near = max(1, int(x.typical))
        mean = self.rng.integers(-near, near + 1, channels) * x.unit
        shift = self.rng.integers(-4 * near, 4 * near + 1, channels) * x.unit / 4
        if not self.exact:
            factor, mean, shift = (v * self.rng.uniform(0.8, 1.25) for v in (factor, mean, shift))
        parameters = (factor * deviation, shift, mean, deviation**2)
        name = self.net.node(
            "BatchNormalization", x.name, *map(self.array, parameters), epsilon=0.0
        )
        largest = (x.largest + near) * 8 + 4 * near
        return Tensor(name, x.shape, x.unit / 4, largest, 4 * x.typical)

    def activated(self, x: Tensor) -> Tensor:
        kind = self.rng.choice(["none", "Relu", "Clip"])
        if kind == "Relu":
            return replace(x, name=self.net.node("Relu", x.name))
        if kind == "Clip":
            near = max(2, int(2 * x.typical))
            limits = np.array([-self.rng.integers(near), 1 + self.rng.integers(near)]) * x.unit
            return replace(x, name=self.net.node("Clip", x.name, *map(self.array, limits)))
        return x

    def quantizer(self, x: Tensor, most: int = 5) -> Tensor:
        """x as codes: Quant, BipolarQuant or MultiThreshold."""
        kind = self.rng.choice(["Quant", "BipolarQuant", "MultiThreshold"], p=[0.7, 0.15, 0.15])
        if kind == "BipolarQuant":
            scale = self.scale(2.0 ** self.rng.integers(-3, 2))
            name = self.node("BipolarQuant", x.name, self.array(scale))
            return Tensor(name, x.shape, scale, 1.0, 1.0)
        if kind == "MultiThreshold":
            return self.thresholds(x)
        bits, signed = int(self.rng.integers(1, most + 1)), self.chance(0.5)
        reach = x.unit * x.typical * 2.0 ** self.rng.integers(-1, 3)
        scale = self.scale(max(reach / 2.0 ** (bits - 1), x.unit / 4))
        attributes = self.kind(bits, signed)
        low = -(2 ** (bits - 1)) + attributes["narrow"] if signed else 0
        zero = 0 if self.chance(0.6) else int(self.rng.integers(low, low + 2**bits - 1))
        parameters = (self.array(scale), self.array(zero), self.array(bits))
        name = self.node("Quant", x.name, *parameters, **attributes)
        return Tensor(name, x.shape, scale, 2.0**bits, max(2.0 ** (bits - 2), 1))

    def thresholds(self, x: Tensor) -> Tensor:
        count = int(self.rng.choice([1, 3, 7, 15]))
        channels = x.shape[1] if self.chance(0.6) else 1
        reach = max(int(2 * x.typical), count)
        steps = np.sort(self.rng.integers(-reach, reach + 1, (channels, count)), axis=1)
        scale, bias = self.scale(0.5), -int(self.rng.integers(0, count + 1))
        layout = {2: "NC", 4: "NCHW"}[len(x.shape)]
        name = self.node(
            "MultiThreshold",
            x.name,
            self.array(steps * x.unit),
            out_scale=scale,
            out_bias=float(np.float32(bias * scale)),
            out_dtype="INT8",
            data_layout=layout,
        )
        return Tensor(name, x.shape, scale, count + 1.0, max(count / 2, 1))

    def max_pool(self, x: Tensor) -> Tensor:
        return self.pool(x, "MaxPool")

    def average_pool(self, x: Tensor) -> Tensor:
        pooled = self.pool(x, "AveragePool")
        return replace(pooled, unit=x.unit / 4, largest=x.largest * 4, typical=x.typical * 4)

    def pool(self, x: Tensor, operator: str) -> Tensor:
        if x.shape[2] < 2:
            return x
        window = {"kernel_shape": [2, 2], "strides": [2, 2]}
        extent = x.shape[2] // 2
        name = self.net.node(operator, x.name, **window)
        return replace(x, name=name, shape=(*x.shape[:2], extent, extent))

    def flat(self, x: Tensor) -> Tensor:
        """(1, F), by Flatten or by a Reshape whose shape is computed."""
        count = int(np.prod(x.shape))
        if self.chance(0.5):
            return replace(x, name=self.net.node("Flatten", x.name), shape=(1, count))
        first = self.net.constant(np.array([0]))
        batch = self.net.node("Gather", self.net.node("Shape", x.name), first)
        shape = self.net.node("Concat", batch, self.net.constant(np.array([-1])), axis=0)
        return replace(x, name=self.net.node("Reshape", x.name, shape), shape=(1, count))

    def dense(self, x: Tensor, outputs: int) -> Tensor:
        depth = x.shape[1]
        w = self.weights(x, (outputs, depth), depth, 0)
        if self.chance(0.5):
            name = self.net.node("Gemm", x.name, w.name, transB=1)
        else:
            turned = self.net.node("Transpose", w.name, perm=[1, 0])
            name = self.net.node("MatMul", x.name, turned)
        return self.product(name, x, w, (1, outputs), depth)


def random_network(seed: int, exact: bool) -> tuple[onnx.ModelProto, np.ndarray]:
    """A network and its input, a multiple of 2^-6."""
    network = RandomNetwork(seed, exact)
    model = network.model()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = network.rng.integers(-256, 257, shape) * 2.0**-6
    return model, x.astype("float32")
