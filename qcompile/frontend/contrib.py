"""Float operators of com.microsoft: products with packed weights, fused operators, activations.

    MatMulNBits(A, B, s, z)  -> matmul(A, transposed dequantize of B, see blocks.py) + bias
    FusedMatMul, FusedGemm, FusedConv, BiasGelu, ... -> the operators they were fused from

onnxruntime's docs/ContribOperators.md.
"""

import math

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.blocks import Grouping, dequantize_blocks
from qcompile.frontend.contractions import convolve, gemm, multiply_matrices, scaled
from qcompile.frontend.layout import transposed
from qcompile.frontend.node import (
    Array,
    Codes,
    Emitter,
    Node,
    Value,
    constant,
    dtype_of,
    shape_of,
)
from qcompile.frontend.qdq import scale_array
from qcompile.frontend.stock import converted

PACKED_BITS = (2, 4, 8)  # these divide a byte


def unpacked(data: Array, bits: int, count: int) -> Array:
    """The first `count` codes of each row of bytes, the lowest bits of a byte first."""
    shifts = np.arange(0, 8, bits, dtype="uint8")
    codes = (data[..., None] >> shifts) & np.uint8(2**bits - 1)
    return codes.reshape(*data.shape[:-1], -1)[..., :count]


def matmul_n_bits(emit: Emitter, node: Node) -> relax.Expr:
    """A: (..., K) float; B: (N, blocks, bytes) packed codes, one scale and zero point a block."""
    K, N = node.integer("K", 0), node.integer("N", 0)
    bits, block = node.integer("bits", 4), node.integer("block_size", 0)
    if bits not in PACKED_BITS or min(K, N, block) < 1:
        raise Unsupported(f"bits {bits}, K {K}, N {N}, block_size {block}; bits 2, 4 and 8 work")
    if node.has(4):
        raise Unsupported("g_idx; only blocks of neighbours work")
    grouping = Grouping((N, K), 1, block)
    data = node.array(1, "B")
    if data.dtype != np.uint8 or data.size * 8 // bits != N * grouping.count * block:
        raise InvalidModel(f"B has {data.size} bytes for {N} x {K} codes of {bits} bits")
    q = unpacked(data.reshape(N, -1), bits, K)
    scale = scale_array(node.expr(2))
    if scale is None or scale.size != N * grouping.count:
        raise InvalidModel(f"the scales are no constant of {N} x {grouping.count}")
    zero = _zero_points(node, bits, N, grouping.count)
    kind = Codes(bits, False)
    scale = scale.reshape(N, grouping.count)
    weights = emit.emit(dequantize_blocks(emit, constant(q), scale, zero, grouping, kind))
    y = multiply_matrices(emit, node, node.expr(0), transposed(emit, weights, [1, 0]))
    return emit.emit(relax.op.add(y, node.expr(5))) if node.has(5) else y


def _zero_points(node: Node, bits: int, N: int, count: int) -> Array:
    """One uint8 a block: given packed like B, or as floats, or 2^(bits - 1)."""
    if not node.has(3):
        return np.full((N, count), 2 ** (bits - 1), "uint8")
    given = node.array(3, "zero_points")
    if given.dtype == np.uint8:
        if given.size != N * math.ceil(count * bits / 8):
            raise InvalidModel(f"zero_points has {given.size} bytes for {N} x {count} codes")
        return unpacked(given.reshape(N, -1), bits, count)
    zero = np.rint(given)
    if given.size != N * count or (zero != given).any() or zero.min() < 0 or zero.max() >= 2**bits:
        raise Unsupported(f"zero_points that are no whole numbers of {bits} bits")
    return zero.astype("uint8").reshape(N, count)


def fused_matmul(emit: Emitter, node: Node) -> relax.Expr:
    """alpha * a @ b, either transposed in its last two axes."""
    if node.integer("transBatchA", 0) or node.integer("transBatchB", 0):
        raise Unsupported("transBatchA and transBatchB")
    a, b = node.expr(0), node.expr(1)
    a = _last_transposed(emit, a) if node.integer("transA", 0) else a
    b = _last_transposed(emit, b) if node.integer("transB", 0) else b
    return scaled(emit, multiply_matrices(emit, node, a, b), node.number("alpha", 1.0))


def _last_transposed(emit: Emitter, x: relax.Expr) -> relax.Expr:
    order = list(range(len(shape_of(x))))
    return transposed(emit, x, [*order[:-2], *reversed(order[-2:])])


def fused_gemm(emit: Emitter, node: Node) -> relax.Expr:
    names = ("activation_alpha", "activation_beta")
    return _activated(emit, node, gemm(emit, node), [node.number(n, 0.0) for n in names])


def fused_conv(emit: Emitter, node: Node) -> relax.Expr:
    """activation(conv(x, w) + bias + z)."""
    y = convolve(emit, node, node.expr(0), node.expr(1), node.optional(2))
    if node.has(3):
        y = emit.emit(relax.op.add(y, node.expr(3)))
    parameters = [float(value) for value in node.attributes.get("activation_params", [])]
    return _activated(emit, node, y, parameters)


def _activated(emit: Emitter, node: Node, y: relax.Expr, parameters: list[float]) -> relax.Expr:
    kind = node.text("activation", "")
    if kind == "LeakyRelu" and parameters:
        return emit.emit(relax.op.nn.leakyrelu(y, parameters[0]))
    if kind == "Clip" and len(parameters) > 1:
        return emit.emit(relax.op.clip(y, *parameters[:2]))
    plain = {"Relu": relax.op.nn.relu, "Tanh": relax.op.tanh, "Sigmoid": relax.op.sigmoid}
    if kind and kind not in plain:
        known = ", ".join([*plain, "LeakyRelu", "Clip"])
        raise Unsupported(f"the activation {kind}; {known} work")
    return emit.emit(plain[kind](y)) if kind else y


def gelu(emit: Emitter, node: Node) -> relax.Expr:
    """Gelu and BiasGelu: the exact one, x * Phi(x)."""
    x = node.expr(0)
    x = emit.emit(relax.op.add(x, node.expr(1))) if node.has(1) else x
    return emit.emit(relax.op.nn.gelu(x), node.name)


def fast_gelu(emit: Emitter, node: Node) -> relax.Expr:
    """The tanh approximation, of x plus an optional bias."""
    x = node.expr(0)
    x = emit.emit(relax.op.add(x, node.expr(1))) if node.has(1) else x
    return emit.emit(relax.op.nn.gelu_tanh(x), node.name)


def quick_gelu(emit: Emitter, node: Node) -> relax.Expr:
    """x * sigmoid(alpha * x)."""
    x = node.expr(0)
    gate = emit.emit(relax.op.sigmoid(scaled(emit, x, node.number("alpha", 1.702))))
    return emit.emit(relax.op.multiply(x, gate), node.name)


def skip_layer_normalization(emit: Emitter, node: Node) -> list[relax.Expr | Value]:
    """The normalized sum of input, skip and bias; the sum itself is the fourth result."""
    if any(node.outputs[1:3]):
        raise Unsupported("the mean and variance as results; only the first and fourth work")
    total = emit.emit(relax.op.add(node.expr(0), node.expr(1)))
    if node.has(4):
        total = emit.emit(relax.op.add(total, node.expr(4)))
    gamma = node.expr(2)
    beta = node.optional(3)
    if beta is None:
        beta = constant(np.zeros(shape_of(gamma), dtype_of(gamma)))
    epsilon = node.number("epsilon", 1e-12)
    axis = len(shape_of(total)) - 1
    y = emit.emit(relax.op.nn.layer_norm(total, gamma, beta, [axis], epsilon), node.name)
    return [y, total, total, total][: max(len(node.outputs), 1)]


def attention(emit: Emitter, node: Node) -> relax.Expr:
    """TVM's converter: float attention with weights packed as query, key, value."""
    if any(node.has(index) for index in (3, 4, 6)) or node.integer("unidirectional", 0):
        raise Unsupported("attention with a mask, a past, or in one direction; plain one works")
    return converted(emit, node, "Attention")
