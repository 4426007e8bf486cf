"""Write batch normalization with constant parameters as one product and one sum.

    batch_norm(x, gamma, beta, mean, variance)[0] -> x * a + (beta - mean * a)
    a = gamma / sqrt(variance + epsilon)

The parameters are constants or dequantized constants; a and the sum are computed in float64; the
other two results are mean and variance as they were. Left alone: statistics of the batch
(training), parameters that are computed.
"""

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.passes.facts import real_constant, vector
from qcompile.passes.rewriter import (
    ITEM,
    BindingRewriter,
    operator_name,
    rewrite_functions,
    shape_of,
)


class _FoldBatchNorm(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) != "relax.nn.batch_norm" or bool(call.attrs.training):
            return None
        if set(self.readers(self.reading)) != {ITEM}:
            return None
        parameters = [real_constant(self, argument) for argument in call.args[1:]]
        if any(parameter is None for parameter in parameters):
            return None
        gamma, beta, mean, variance = (np.asarray(p, "float64") for p in parameters)
        factor = 1 / np.sqrt(variance + float(call.attrs.epsilon))
        if bool(call.attrs.scale):
            factor = factor * gamma
        if not bool(call.attrs.center):
            beta = np.zeros_like(beta)
        rank, axis = len(shape_of(call.args[0])), int(call.attrs.axis)
        spread = [-1 if i == axis % rank else 1 for i in range(rank)]
        scaled = relax.op.multiply(call.args[0], vector(factor.reshape(spread), "float32"))
        offset = vector((beta - mean * factor).reshape(spread), "float32")
        shifted = self.emit(relax.op.add(self.emit(scaled), offset), name)
        return relax.Tuple([shifted, *call.args[3:5]])


@tvm.transform.module_pass(opt_level=0, name="FoldBatchNorm")
class FoldBatchNorm:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _FoldBatchNorm)
