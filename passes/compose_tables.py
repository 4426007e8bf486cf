"""Look up whatever is computed from one tensor of codes alone.

    table(table(x, t), u)                 -> table(x, u[t])
    requantize(table(x, t))               -> table(x, …)
    add(table(x, t), x), add(x, x)        -> table(x, …)     likewise multiply, and constants

x: 8-bit codes; scales and zero points single. The entries are computed by the operators' own
expression in float32, so the codes stay the same. A network writes x * sigmoid(x), or GELU, as a
chain of quantized operators; it becomes one pass over the bytes. Left alone: a requantize of codes
that are no look-up, which registers do faster.
"""

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import table
from qcompile.ops.requantize import ADD, MULTIPLY, REQUANTIZE, TABLE
from qcompile.ops.roundings import round_array
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

OPERANDS = {REQUANTIZE: 1, ADD: 2, MULTIPLY: 2, TABLE: 1}
CODES = ("int8", "uint8")


class _ComposeTables(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        operator = operator_name(call)
        if operator not in OPERANDS:
            return None
        operands = call.args[: OPERANDS[operator]]
        sources = [self._source(operand) for operand in operands]
        tensors = [source for source in sources if source is not None]
        if not tensors or not all(source.same_as(tensors[0]) for source in tensors):
            return None
        if not self._worthwhile(operands) or shape_of(tensors[0]) != shape_of(call):
            return None
        values = [self._values(operand) for operand in operands]
        if any(value is None for value in values):
            return None
        entries = self._entries(call, [v for v in values if v is not None])
        if entries is None:
            return None
        return table(tensors[0], relax.const(entries, str(entries.dtype)))

    def _source(self, operand: relax.Expr) -> relax.Expr | None:
        """The tensor whose codes `operand` is a function of; None for constants."""
        look_up = self.call_of(operand, TABLE)
        if look_up is not None:
            return look_up.args[0]
        return None if constant(operand) is not None else operand

    def _worthwhile(self, operands: list[relax.Expr]) -> bool:
        """Whether there is a look-up already, or the same codes are read twice."""
        look_ups = [self.call_of(operand, TABLE) is not None for operand in operands]
        return any(look_ups) or sum(constant(operand) is None for operand in operands) > 1

    def _values(self, operand: relax.Expr) -> NDArray[np.int64] | None:
        """The operand's code for each code of the source."""
        array = constant(operand)
        if array is not None:
            return array.reshape(()).astype("int64") if array.size == 1 else None
        if dtype_of(operand) not in CODES:
            return None
        look_up = self.call_of(operand, TABLE)
        if look_up is not None:
            entries = constant(look_up.args[1])
            return None if entries is None else entries.astype("int64")
        return _every(dtype_of(operand))

    def _entries(
        self, call: tvm.ir.Call, values: list[NDArray[np.int64]]
    ) -> NDArray[np.int64] | None:
        """The codes that the call makes of `values`."""
        attributes, operator = call.attrs, operator_name(call)
        if operator == TABLE:
            inner = constant(call.args[1])
            if inner is None:
                return None
            return inner[values[0] + (128 if dtype_of(call.args[0]) == "int8" else 0)]
        if operator == REQUANTIZE:
            parameters = [constant(argument) for argument in call.args[1:]]
            if any(array is None or array.size != 1 for array in parameters):
                return None
            singles = [a.reshape(()).astype("float32") for a in parameters if a is not None]
            real = _float(values[0] - int(attributes["input_zero"])) * singles[0]
            real = sum(singles[1:], start=real)
        elif operator == ADD:
            terms = [
                _float(value - int(attributes[f"zero_{side}"]))
                * np.float32(float(attributes[f"scale_{side}"]))
                for value, side in zip(values, "ab", strict=True)
            ]
            real = terms[0] + terms[1]
        else:
            centred = [v - int(attributes[f"zero_{s}"]) for v, s in zip(values, "ab", strict=True)]
            real = _float(centred[0] * centred[1]) * np.float32(float(attributes["scale"]))
        rounded = round_array(np.asarray(real, "float32"), str(attributes["rounding"]))
        codes = rounded + np.float32(int(attributes["zero_point"]))
        clamped = np.clip(codes, int(attributes["low"]), int(attributes["high"]))
        return clamped.astype(str(attributes["dtype"]))


def _every(dtype: str) -> NDArray[np.int64]:
    low = -128 if dtype == "int8" else 0
    return np.arange(low, low + 256)


def _float(values: NDArray[np.int64]) -> NDArray[np.float32]:
    return values.astype("float32")


@tvm.transform.module_pass(opt_level=0, name="ComposeTables")
class ComposeTables:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _ComposeTables)
