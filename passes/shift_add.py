"""Scale the sums of an integer form by shifts and additions, for hardware that cannot multiply.

    requantize(conv2d(x, w, b), m, t) -> shift_add(conv2d(x, w, 0), b', g, d_1, d_2)
    requantize(dense(x, w, b), m, t)  -> shift_add(dense(x, w, 0), b', g, d_1, d_2)

b', g, d: shift_add_terms.py; b' also makes what the zero point is beyond OFFSET in codes that 8
signed bits do not hold: VTA stores these less OFFSET, so that it has nothing to add. The weights
stay the model's own, negated where m is negative. Of two summands codes are added: a branch is
rounded before the sum, as power_of_two.py has it of codes; what that says of everything else holds
here. What was done is noted in the module (power_of_two_report.py). Exact, and noted with the
reason: what power_of_two.py leaves so, scales too far apart, weights of -128 with a negative m.
"""

from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.bounds import bounded
from qcompile.ops import shift_add
from qcompile.ops.registry import call_op
from qcompile.passes.facts import array_of, scalar, vector
from qcompile.passes.power_of_two import PowerOfTwoRewriter, kept_codes, rescaling
from qcompile.passes.power_of_two_terms import Term
from qcompile.passes.rewriter import operator_name
from qcompile.passes.shift_add_terms import ShiftAddTerms, shift_add_terms

INT8_MAX = 127
OFFSET = 128


class _ShiftAdd(PowerOfTwoRewriter):
    def scaled_sums(self, call: tvm.ir.Call, term: Term) -> relax.Expr | str:
        product = term.data
        bounds = bounded(product, None)
        assert bounds is not None
        bias = array_of(product.args[2]).astype("int64")
        largest = np.abs(bounds[1] - bias).max(axis=0)
        codes = kept_codes(call)
        offset = OFFSET if codes["high"] > INT8_MAX else 0
        constants = term.offset + codes.pop("zero_point") - offset
        found = shift_add_terms(np.abs(term.factor), constants, largest)
        if isinstance(found, str):
            return found
        sign = np.where(found.still, 0, np.where(term.factor < 0, -1, 1))
        weights = array_of(product.args[1]).astype("int64")
        weights = weights * sign.reshape(-1, *[1] * (weights.ndim - 1))
        if weights.max(initial=0) > INT8_MAX:
            return "its weights of -128 have a negative scale"
        self._note_layer(product, found)
        arguments = [product.args[0], vector(weights, "int8"), vector(0 * bias, "int32")]
        bits = max(int(product.attrs["w_bits"]), _bits(weights))
        attributes = dict(product.attrs.items()) | {"w_bits": bits}
        made = call_op(operator_name(product), arguments, **attributes)
        sums = self.emit(made, str(product.attrs["layer"]))
        terms = [_parameter(amounts) for amounts in found.terms]
        parameters = [vector(found.bias, "int32"), _parameter(found.shift), terms]
        return shift_add(sums, *parameters, lift=found.lift, offset=offset, **codes)

    def _note_layer(self, product: tvm.ir.Call, found: ShiftAddTerms) -> None:
        self.note(
            str(product.attrs["layer"]),
            operator_name(product),
            shift=tuple(int(s) for s in np.unique(found.shift - found.lift)),
            per_channel=any(len(np.unique(each)) > 1 for each in (found.shift, *found.terms)),
            error=found.error,
            layer_error=found.error,
            powers=1 + len(found.terms),
            largest_error=found.largest_error,
        )


def _bits(weights: NDArray[Any]) -> int:
    """Of signed weights: those of two codes alone, -1 and 1, are signs and have one."""
    if not (np.abs(weights) != 1).any():
        return 1
    return max(int(weights.max(initial=0)), -1 - int(weights.min(initial=0))).bit_length() + 1


def _parameter(values: NDArray[np.int64]) -> relax.Expr:
    """One value where all channels have the same."""
    if (values == values[0]).all():
        return scalar(values[0], "int32")
    return vector(values, "int32")


def ShiftAdd() -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass."""
    return rescaling(_ShiftAdd, "ShiftAdd")
