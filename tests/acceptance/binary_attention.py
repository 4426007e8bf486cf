"""A binary transformer's attention block as PyTorch exports it. Qin et al. 2022 (BiBERT)."""

import numpy as np
import onnx
from graph import Graph

POSITIONS, WIDTH, HEADS = 24, 80, 2


class _Block:
    def __init__(self, seed: int) -> None:
        self.net = Graph("binary_attention", seed)

    def array(self, values) -> str:
        return self.net.constant(np.asarray(values, "float32"))

    def above(self, x: str) -> str:
        return self.net.node("GreaterOrEqual", x, self.array(0))

    def signs(self, x: str) -> str:
        """where(x + shift >= 0, 1, -1)."""
        shift = self.array(self.net.rng.uniform(-0.3, 0.3, WIDTH))
        shifted = self.net.node("Add", x, shift)
        return self.net.node("Where", self.above(shifted), self.array(1), self.array(-1))

    def dense(self, x: str) -> str:
        """Signs times signs, and a scale."""
        weights = self.net.rng.choice([-1, 1], (WIDTH, WIDTH)) * np.float32(0.125)
        return self.net.node("MatMul", self.signs(x), self.array(weights))

    def heads(self, x: str, order: list[int]) -> str:
        shape = self.net.constant(np.array([1, POSITIONS, HEADS, WIDTH // HEADS]))
        return self.net.node("Transpose", self.net.node("Reshape", x, shape), perm=order)

    def norm(self, x: str) -> str:
        scale = self.array(self.net.rng.uniform(0.5, 1.5, WIDTH))
        return self.net.node("LayerNormalization", x, scale, self.net.bias(WIDTH), axis=-1)

    def attention(self, x: str) -> str:
        """bool(Q K^T / sqrt(D)) V, of 0 and 1 times signs."""
        q, k, v = (self.signs(self.dense(x)) for _ in range(3))
        q, k, v = (
            self.heads(each, order)
            for each, order in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3]))
        )
        root = self.array((WIDTH // HEADS) ** 0.5)
        scores = self.net.node("Div", self.net.node("MatMul", q, k, name="scores"), root)
        shares = self.net.node("Cast", self.above(scores), to=onnx.TensorProto.FLOAT)
        context = self.net.node("MatMul", shares, v, name="context")
        context = self.net.node("Transpose", context, perm=[0, 2, 1, 3])
        shape = self.net.constant(np.array([1, POSITIONS, WIDTH]))
        return self.net.node("Reshape", context, shape)


def binary_attention() -> onnx.ModelProto:
    """Attention and a layer behind it; residuals and norms are float."""
    block = _Block(seed=5)
    x = block.net.input("x", [1, POSITIONS, WIDTH])
    x = block.norm(block.net.node("Add", block.dense(block.attention(x)), x))
    x = block.norm(block.net.node("Add", block.dense(x), x))
    return block.net.model({x: [1, POSITIONS, WIDTH]})
