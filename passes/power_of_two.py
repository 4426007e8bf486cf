"""Make the scales of an integer form powers of two, for hardware that shifts and cannot multiply.

    requantize(conv2d(x, w, b), m, t)  -> requantize(conv2d(x, w', b'), 2^-s)
    requantize(dense(x, w, b), m, t)   -> requantize(dense(x, w', b'), 2^-s)
    add(a, requantize(conv2d or dense (x, w, b), m, t))
        -> requantize(conv2d or dense (x, w', b') + (a - z_a) d, 2^-s)
    add(a, b), scales m_a, m_b         -> add(a, b), scales d_a 2^-s, d_b 2^-s
    requantize(x, m), m one value      -> requantize(x, d 2^-s)

w', b': power_of_two_weights.py; d: integers; ties are rounded towards plus infinity. In the third,
a may be such a requantize itself; where nothing else reads a branch, its codes reach as far as
their type and its weights stay precise, it is rounded with the sum, once. x of the last: codes or
sums of a pool. What was done is noted in the module (power_of_two_report.py). Left alone, and
exact: thresholds of two codes. Also exact, and noted with the reason: roundings towards or away
from zero, thresholds of more codes, sums that others read too, scales that vary along other axes
than the channels', products of two tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import add, requantize
from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.ops.registry import call_op
from qcompile.ops.requantize import ADD, MULTIPLY, REQUANTIZE
from qcompile.ops.threshold import THRESHOLD
from qcompile.passes.facts import constant, scalar, vector
from qcompile.passes.power_of_two_report import Rescaled, noted
from qcompile.passes.power_of_two_terms import (
    HALF_CEIL,
    NEAREST,
    Term,
    bits_of,
    codes_term,
    term_of,
)
from qcompile.passes.power_of_two_weights import ShiftedWeights, shifted_factors, shifted_weights
from qcompile.passes.rewriter import (
    BindingRewriter,
    dtype_of,
    operator_name,
    rewrite_functions,
    shape_of,
)

BITS = 8
LOSS = 2.0  # of the weights' precision at most, for a rounding less
KEPT = ("zero_point", "low", "high", "dtype")


class PowerOfTwoRewriter(BindingRewriter):
    """The rewrite of a function. report: what became of its layers, by name."""

    def __init__(self, bits: int = BITS) -> None:
        super().__init__()
        self._bits = bits
        self._terms: dict[relax.Var, Term] = {}  # by the variable that was read
        self.report: dict[str, Rescaled] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        rules: dict[str, Callable[[tvm.ir.Call, str], relax.Expr | str]] = {
            REQUANTIZE: self._requantize,
            THRESHOLD: _threshold,
            ADD: self._add,
            MULTIPLY: lambda call, name: "a product of two tensors",
        }
        rule = rules.get(operator_name(call))
        if rule is None:
            return None
        made = rule(call, name)
        if isinstance(made, str):
            self.note(name, operator_name(call), reason=made)
            return None
        return None if made is call else made

    def _requantize(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        product = self.call_of(call.args[0], CONV2D, DENSE)
        if product is None:
            return self._scaled(call, name)
        if self.reads.get(call.args[0]) != 1:
            return "something else reads its sums"
        term = term_of(call, product)
        return term if isinstance(term, str) else self.scaled_sums(call, term)

    def scaled_sums(self, call: tvm.ir.Call, term: Term) -> relax.Expr | str:
        """What takes the place of a requantize, the `call`, of sums; a reason why nothing does."""
        made = shifted_weights([term.operand(self._bits)], term.offset)
        if made is None:
            return "no shift holds its weights and sums"
        if self.reading is not None:
            self._terms[self.reading] = replace(term, error=made.error)
        return self._shifted(call, [term], made)

    def _add(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        if str(call.attrs["rounding"]) not in NEAREST:
            return f"its rounding is {call.attrs['rounding']}"
        scales = [float(call.attrs[key]) for key in ("scale_a", "scale_b")]
        zeros = [int(call.attrs[key]) for key in ("zero_a", "zero_b")]
        terms = [
            self._branch(value, zero).times(scale)
            for value, zero, scale in zip(call.args, zeros, scales, strict=True)
        ]
        same = all(shape_of(value) == shape_of(call) for value in call.args)
        if same and any(term.is_product for term in terms):
            offset = terms[0].offset + terms[1].offset
            made = shifted_weights([term.operand(self._bits) for term in terms], offset)
            alone = max(term.error for term in terms)
            if made is not None and made.error <= LOSS * alone:
                return self._shifted(call, terms, made)
        (a, b), shift, error = shifted_factors(scales)
        self.note(name, ADD, shift=(shift,), error=error, layer_error=error)
        return add(
            *call.args,
            scales=(a * 2.0**-shift, b * 2.0**-shift),
            zeros=(zeros[0], zeros[1]),
            **kept_codes(call),
            rounding=HALF_CEIL,
        )

    def _branch(self, value: relax.Expr, zero: int) -> Term:
        """An operand of a sum: the sums behind it where it alone reads them, else codes."""
        behind = (t for var, t in self._terms.items() if self._replacements[var].same_as(value))
        term = next(behind, None)
        if term is None or term.free_zero != zero or self.reads.get(value) != 1:
            return codes_term(value, zero)
        return term

    def _shifted(
        self, call: tvm.ir.Call, terms: Sequence[Term], made: ShiftedWeights
    ) -> relax.Expr:
        """Codes of the sum of terms whose weights carry their scales."""
        total: relax.Var | None = None
        bias = made.bias
        for term, weights in sorted(
            zip(terms, made.weights, strict=True), key=lambda pair: not pair[0].is_product
        ):
            if term.is_product:
                part = self._with_weights(term.data, weights, bias)
                bias = np.zeros_like(bias)
                self._note_product(term.data, made, alone=len(terms) == 1)
            else:
                part = self._times(term, weights.reshape(-1))
            total = part if total is None else self.emit(relax.op.add(total, part))
        scale = 2.0 ** -(made.shift if made.per_channel else made.shift[:1])
        factor = vector(scale, "float32") if made.per_channel else scalar(scale[0])
        return requantize(total, factor, None, input_zero=0, **kept_codes(call), rounding=HALF_CEIL)

    def _with_weights(
        self, product: tvm.ir.Call, weights: NDArray[Any], bias: NDArray[Any]
    ) -> relax.Var:
        """The sums of the same layer with other weights."""
        arguments = [product.args[0], vector(weights, "int8"), vector(bias, "int32")]
        bits = bits_of(product, self._bits)
        attributes = dict(product.attrs.items()) | {"w_bits": bits}
        layer = str(product.attrs["layer"])
        return self.emit(call_op(operator_name(product), arguments, **attributes), layer)

    def _times(self, term: Term, factors: NDArray[Any]) -> relax.Var:
        """(codes - zero) * factors in int32."""
        value = self.emit(relax.op.astype(term.data, "int32"))
        if term.zero:
            value = self.emit(relax.op.subtract(value, scalar(term.zero, "int32")))
        return self.emit(relax.op.multiply(value, vector(factors, "int32")))

    def _scaled(self, call: tvm.ir.Call, name: str) -> relax.Expr | str:
        """Codes, or sums of a pool, of one scale."""
        if str(call.attrs["rounding"]) not in NEAREST:
            return f"its rounding is {call.attrs['rounding']}"
        parameters = [constant(argument) for argument in call.args[1:]]
        if len(parameters) > 1 or parameters[0] is None or parameters[0].size != 1:
            return "its scale varies, or something is added"
        data = call.args[0]
        if dtype_of(data) == "int32" and self.call_of(data, SUM_POOL2D) is None:
            return "its sums are of no convolution, product or pool"
        scale = float(parameters[0].reshape(-1)[0])
        (factor,), shift, error = shifted_factors([scale])
        self.note(name, REQUANTIZE, shift=(shift,), error=error, layer_error=error)
        attributes = kept_codes(call) | {"input_zero": int(call.attrs["input_zero"])}
        return requantize(
            data, scalar(factor * 2.0**-shift), None, **attributes, rounding=HALF_CEIL
        )

    def _note_product(self, product: tvm.ir.Call, made: ShiftedWeights, *, alone: bool) -> None:
        self.note(
            str(product.attrs["layer"]),
            operator_name(product) + ("" if alone else " and add"),
            shift=tuple(int(s) for s in np.unique(made.shift)),
            per_channel=made.per_channel,
            error=made.error,
            layer_error=made.layer_error,
        )

    def note(self, name: str, operator: str, **found: Any) -> None:
        """Report what was found of a layer, fields of `Rescaled`."""
        op = operator.removeprefix("qcompile.")
        self.report[name] = Rescaled(layer=name, op=op, **found)


def _threshold(call: tvm.ir.Call, _: str) -> relax.Expr | str:
    """Two codes need no scale: a clamp makes them of the sums less the threshold."""
    several = shape_of(call.args[1])[0] > 1
    return "thresholds of more than two codes" if several else call


def kept_codes(call: tvm.ir.Call) -> dict[str, Any]:
    """The attributes of the codes that are made."""
    return {k: str(call.attrs[k]) if k == "dtype" else int(call.attrs[k]) for k in KEPT}


def PowerOfTwo(bits: int = BITS) -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass for weights of 8 bits, and of `bits` where the model's own have no more."""
    return rescaling(lambda: PowerOfTwoRewriter(bits), "PowerOfTwo")


def rescaling(rewriter: Callable[[], PowerOfTwoRewriter], name: str) -> tvm.transform.Pass:
    """The pass that rewrites each function, and notes what became of the layers."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        report: dict[str, Rescaled] = {}

        def reporting() -> PowerOfTwoRewriter:
            made = rewriter()
            made.report = report
            return made

        mod = relax.transform.DeadCodeElimination()(rewrite_functions(mod, reporting))
        return noted(mod, list(report.values()))

    return tvm.transform.module_pass(transform, opt_level=0, name=name)
