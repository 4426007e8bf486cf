"""Networks of few bits as PyTorch and Keras export them: signs and scales as float operators."""

import numpy as np
import onnx
from graph import Graph

CHANNELS, SIZE = 8, 10


class BinaryNetwork:
    """A float convolution, two layers of few bits that `layer` makes, a float product."""

    def __init__(self, seed: int) -> None:
        self.net = Graph(f"binary_{seed}", seed)
        self.rng = self.net.rng

    def array(self, values) -> str:
        return self.net.constant(np.asarray(values, "float32"))

    def signs(self, *shape: int) -> np.ndarray:
        return self.rng.choice(np.float32([-1, 1]), shape)

    def channels(self, low: float, high: float) -> np.ndarray:
        return self.rng.uniform(low, high, (1, CHANNELS, 1, 1)).astype("float32")

    def conv(self, x: str, weights: np.ndarray | str) -> str:
        weights = weights if isinstance(weights, str) else self.array(weights)
        return self.net.node("Conv", x, weights, kernel_shape=[3, 3], pads=[1] * 4)

    def norm(self, x: str) -> str:
        low_high = ((0.5, 1.5), (-0.5, 0.5), (-1.0, 1.0), (0.5, 2.0))
        parameters = [self.array(self.rng.uniform(*each, CHANNELS)) for each in low_high]
        return self.net.node("BatchNormalization", x, *parameters)

    def model(self, layer) -> onnx.ModelProto:
        x = self.net.input("x", [1, 3, SIZE, SIZE])
        x = self.norm(self.net.conv(x, 3, CHANNELS, 3))
        for _ in range(2):
            x = layer(self, x)
        x = self.net.node("Flatten", self.net.node("GlobalAveragePool", x))
        return self.net.model({self.net.gemm(x, CHANNELS, 5): [1, 5]})


WEIGHTS = (CHANNELS, CHANNELS, 3, 3)


def xnor(b: BinaryNetwork, x: str) -> str:
    """Sign, which leaves 0 alone; scales of channels within the weights. Rastegari et al. 2016."""
    alpha = b.rng.uniform(0.01, 0.1, (CHANNELS, 1, 1, 1)).astype("float32")
    return b.net.node("Relu", b.norm(b.conv(b.net.node("Sign", x), b.signs(*WEIGHTS) * alpha)))


def bireal(b: BinaryNetwork, x: str) -> str:
    """Real values pass by; the sign is of a hard tanh. Liu et al. 2018."""
    clipped = b.net.node("Clip", x, b.array(-1), b.array(1))
    y = b.norm(b.conv(b.net.node("Sign", clipped), b.signs(*WEIGHTS) * np.float32(0.05)))
    return b.net.node("Add", y, x)


def reactnet(b: BinaryNetwork, x: str) -> str:
    """A bias of every channel before sign and around PReLU, expanded. Liu et al. 2020."""
    shape = b.net.constant(np.array([1, CHANNELS, SIZE, SIZE]))

    def shifted(v: str) -> str:
        bias = b.net.node("Expand", b.array(b.channels(-0.3, 0.3)), shape)
        return b.net.node("Add", v, bias)

    alpha = b.rng.uniform(0.01, 0.1, (CHANNELS, 1, 1, 1)).astype("float32")
    y = b.norm(b.conv(b.net.node("Sign", shifted(x)), b.signs(*WEIGHTS) * alpha))
    y = shifted(b.net.node("Add", y, x))
    slope = b.array(b.rng.uniform(0.1, 0.4, (CHANNELS, 1, 1)))
    return shifted(b.net.node("PRelu", y, slope))


def larq(b: BinaryNetwork, x: str) -> str:
    """sign(sign(x) + 0.1), and a scale of every channel behind the convolution."""
    signs = b.net.node("Sign", b.net.node("Add", b.net.node("Sign", x), b.array(0.1)))
    y = b.conv(signs, b.signs(*WEIGHTS))
    return b.norm(b.net.node("Mul", y, b.array(b.channels(0.01, 0.1))))


def where(b: BinaryNetwork, x: str) -> str:
    """where(x >= c, a, -a) with weights of three values."""
    above = b.net.node("GreaterOrEqual", x, b.array(0.1))
    signs = b.net.node("Where", above, b.array(0.5), b.array(-0.5))
    ternary = b.rng.integers(-1, 2, WEIGHTS) * b.rng.uniform(0.01, 0.1, (CHANNELS, 1, 1, 1))
    return b.norm(b.conv(signs, ternary))


def strict(b: BinaryNetwork, x: str) -> str:
    """where(x > 0, 1, -1): the code of 0 is that of negative values."""
    above = b.net.node("Greater", x, b.array(0))
    signs = b.net.node("Where", above, b.array(1), b.array(-1))
    return b.norm(b.conv(signs, b.signs(*WEIGHTS) * np.float32(0.05)))


def masks(b: BinaryNetwork, x: str) -> str:
    """Activations of 0 and 1 by a cast."""
    ones = b.net.node("Cast", b.net.node("GreaterOrEqual", x, b.array(0)), to=1)
    return b.norm(b.conv(ones, b.signs(*WEIGHTS) * np.float32(0.05)))


def irnet(b: BinaryNetwork, x: str) -> str:
    """sign of standardized weights times a power of two, all in the file. Qin et al. 2020."""
    w = b.array(b.rng.normal(0.1, 0.5, WEIGHTS))
    centred = b.net.node("Sub", w, b.net.node("ReduceMean", w, axes=[1, 2, 3], keepdims=1))
    size = b.net.node("ReduceMean", b.net.node("Abs", centred), axes=[1, 2, 3], keepdims=1)
    logarithm = b.net.node("Div", b.net.node("Log", size), b.array(np.log(2)))
    power = b.net.node("Pow", b.array(2), b.net.node("Round", logarithm))
    weights = b.net.node("Mul", b.net.node("Sign", centred), power)
    return b.norm(b.conv(b.net.node("Sign", x), weights))


def dorefa(b: BinaryNetwork, x: str) -> str:
    """Two bits within 0 and 1, signs of weights times their mean size. Zhou et al. 2016."""
    clipped = b.net.node("Clip", x, b.array(0), b.array(1))
    levels = b.net.node("Round", b.net.node("Mul", clipped, b.array(3)))
    return b.norm(
        b.conv(b.net.node("Div", levels, b.array(3)), b.signs(*WEIGHTS) * np.float32(0.05))
    )


def learned_steps(b: BinaryNetwork, x: str) -> str:
    """round(clip(x / s, 0, 7)) * s, weights of three bits. Esser et al. 2020."""
    step = b.array(0.21)
    ratio = b.net.node("Clip", b.net.node("Div", x, step), b.array(0), b.array(7))
    levels = b.net.node("Mul", b.net.node("Round", ratio), step)
    weights = b.rng.integers(-3, 4, WEIGHTS).astype("float32") * np.float32(0.037)
    return b.norm(b.conv(levels, weights))


def learned_basis(b: BinaryNetwork, x: str) -> str:
    """Two bits of activations; weights v_1 b_1 + v_2 b_2. Zhang et al. 2018 (LQ-Nets)."""
    levels = b.net.node("Round", b.net.node("Clip", x, b.array(0), b.array(3)))
    values = b.rng.uniform(0.02, 0.2, (2, CHANNELS, 1, 1, 1)).astype("float32")
    return b.norm(b.conv(levels, (values * b.signs(2, *WEIGHTS)).sum(axis=0)))


LAYERS = {each.__name__: each for each in (xnor, bireal, reactnet, larq, where)}
LAYERS |= {each.__name__: each for each in (strict, masks, irnet, dorefa, learned_steps)}
LAYERS |= {learned_basis.__name__: learned_basis}


def binary_network(name: str) -> onnx.ModelProto:
    return BinaryNetwork(seed=len(name)).model(LAYERS[name])
