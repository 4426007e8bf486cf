"""Turn float32 convolutions and matrix products into kernels with packed weights.

    conv2d(x NHWC, w)   -> conv2d_f32(pad(x), pack(w), 0), images of one column as rows
    matmul(x, w)        -> dense_f32(x, pack(w), 0)

w constant. Left to TVM: weights that are computed, other layouts.
"""

from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te

from qcompile.passes.facts import channels_last, constant
from qcompile.passes.lowering import Layer, Lowering, matrix_shape, packed, passes_of
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.schedules import conv2d_f32 as convolution
from qcompile.schedules import dense_f32 as product

FLOAT_BITS = 32


class _LowerFloat(Lowering):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator not in ("relax.nn.conv2d", "relax.matmul") or dtype_of(call) != "float32":
            return None
        weights = constant(self.definition(call.args[1]))
        if weights is None:
            return None
        if operator == "relax.matmul":
            return self._matmul(call, weights, name) if weights.ndim == 2 else None
        return self._conv2d(call, weights, name) if channels_last(call) else None

    def _note(
        self,
        call: tvm.ir.Call,
        op: str,
        kernel: str,
        depth: int,
        weights: NDArray[np.float32],
        name: str,
    ) -> None:
        macs = prod(shape_of(call)) * depth
        self.layers.append(Layer(name, op, kernel, FLOAT_BITS, FLOAT_BITS, macs, weights.nbytes))

    def _matmul(
        self, call: tvm.ir.Call, weights: NDArray[np.float32], name: str
    ) -> relax.Expr | None:
        x, columns = call.args[0], weights.shape[1]
        if len(shape_of(x)) < 2:
            return None
        self._note(call, "MatMul", "dense_f32", len(weights), weights, name)
        rows = self._rows(x, weights.T, name)
        return self.reshaped(rows, (*shape_of(x)[:-1], columns))

    def _rows(self, x: relax.Expr, weights: NDArray[np.float32], name: str) -> relax.Var:
        """x read as a matrix, times weights (N, K)."""
        rows, depth = matrix_shape(x)
        problem = product.DenseF32Problem(rows, len(weights), depth)
        plan = product.dense_f32_plan(problem, self.target, self.decisions("dense_f32", name))

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return product.dense_f32(x, w, b, plan=plan, layer=name)

        operands = [
            packed(product.pack_weights(np.ascontiguousarray(weights), plan)),
            _zeros(weights),
        ]
        return self.kernel(compute, [self.reshaped(x, (rows, depth)), *operands], "dense_f32", name)

    def _conv2d(
        self, call: tvm.ir.Call, weights: NDArray[np.float32], name: str
    ) -> relax.Expr | None:
        attributes = call.attrs
        top, left, bottom, right = (int(pad) for pad in attributes.padding)
        strides, dilation = (
            (int(pair[0]), int(pair[1])) for pair in (attributes.strides, attributes.dilation)
        )
        groups, x = int(attributes.groups), call.args[0]
        if (
            groups == 1
            and strides == (1, 1)
            and weights[0, 0].size == 1
            and not (top or left or bottom or right)
        ):
            self._note(call, "Conv", "dense_f32", weights[0].size, weights, name)
            rows = self._rows(x, weights.reshape(len(weights), -1), name)
            return self.reshaped(rows, shape_of(call))
        self._note(call, "Conv", "conv2d_f32", weights[0].size, weights, name)
        if top or left or bottom or right:
            x = self.emit(relax.op.nn.pad(x, [0, 0, top, bottom, left, right, 0, 0]))
        n, height, width, channels = shape_of(x)
        if width == 1:
            # A tile holds pixels of one row: a column of pixels is read as a row.
            x, height, width = self.reshaped(x, (n, 1, height, channels)), 1, height
            weights, strides, dilation = weights.swapaxes(2, 3), strides[::-1], dilation[::-1]
        problem = convolution.Conv2dF32Problem(
            data=(n, height, width, channels),
            channels=len(weights),
            kernel=weights.shape[2:],
            strides=strides,
            dilation=dilation,
            groups=groups,
        )
        decisions = self.decisions("conv2d_f32", name)
        plan = convolution.conv2d_f32_plan(problem, self.target, decisions)

        def compute(x: te.Tensor, w: te.Tensor, b: te.Tensor) -> te.Tensor:
            return convolution.conv2d_f32(x, w, b, plan=plan, layer=name)

        operands = [x, packed(convolution.pack_weights(weights, plan)), _zeros(weights)]
        pixels = self.kernel(compute, operands, "conv2d_f32", name)
        return self.reshaped(pixels, shape_of(call))


def _zeros(weights: NDArray[np.float32]) -> relax.Expr:
    return packed(np.zeros(len(weights), "float32"))


LowerFloat = passes_of(_LowerFloat, "LowerFloat")
