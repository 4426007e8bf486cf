"""Find planes of signs in float weights that are sums of a few learned values with signs.

    w = sum_j v_j b_j        v_j: one value an output channel; b_j: -1 or 1; two or three of them

    conv(dequantize(x), w)   -> sum_j conv(dequantize(x), dequantize(b_j, v_j))       matmul alike

w: constant float32, each of its values the float32 of the sum above, rounded once or after each
addition. Networks with learned bases have such weights (LQ-Nets, ABC-Net). Left alone: anything
that is not exact, products of data that are no codes, channels of so few weights that any would do.
"""

from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops import dequantize
from qcompile.passes.facts import vector
from qcompile.passes.recover_weights import float_weights
from qcompile.passes.rewriter import BindingRewriter, rewrite_functions

Array = NDArray[Any]
BIPOLAR: dict[str, Any] = {"bits": 1, "signed": True, "narrow": True}
PLANES = (2, 3)
SMALLEST = np.finfo("float32").tiny


class _RecoverPlanes(BindingRewriter):
    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        found = float_weights(self, call)
        planes = None if found is None else planes_of(np.moveaxis(found[0], found[1], 0))
        if found is None or planes is None:
            return None
        parts = [
            self._part(call, np.moveaxis(signs, 0, found[1]), values, found[1], name)
            for signs, values in zip(*planes, strict=True)
        ]
        return reduce(lambda total, part: self.emit(relax.op.add(total, part)), parts)

    def _part(
        self, call: tvm.ir.Call, signs: Array, values: Array, axis: int, name: str
    ) -> relax.Var:
        """The call with one plane for its weights."""
        zero = vector(np.zeros(values.shape), "int8")
        codes, scale = vector(signs, "int8"), vector(values, "float32")
        w = self.emit(dequantize(codes, scale, zero, axis=axis, **BIPOLAR))
        return self.emit(tvm.ir.Call(call.op, [call.args[0], w], call.attrs, call.ty_args), name)


def planes_of(weights: Array) -> tuple[Array, Array] | None:
    """Signs (planes, O, ...) int8 and values (planes, O) float32 of weights (O, ...), or None."""
    rows = weights.reshape(len(weights), -1)
    for count in PLANES:
        channels = [] if rows.shape[1] <= 2**count else list(_channels(rows, count))
        if channels and len(channels) == len(rows):
            signs, values = (np.stack(parts, axis=1) for parts in zip(*channels, strict=True))
            return signs.reshape(count, *weights.shape), values
    return None


def _channels(rows: Array, count: int) -> Iterator[tuple[Array, Array]]:
    """Signs (count, K) and values (count,) of the channels up to the first one without."""
    for row in rows:
        sizes = np.unique(np.abs(row)).astype("float64")[::-1]
        if len(sizes) > 2 ** (count - 1) or not np.isfinite(sizes).all():
            return
        found = _channel(row, sizes if sizes.any() else np.array([1.0, 0.0]), count)
        if found is None:
            return
        yield found


def _channel(row: Array, sizes: Array, count: int) -> tuple[Array, Array] | None:
    choices = np.array(list(product((1, -1), repeat=count)), "int8")
    bases = _pairs if count == PLANES[0] else _triples
    for values in (values for values in bases(sizes) if (values >= SMALLEST).all()):
        for sums in _sums(choices, values):
            order = np.argsort(sums)
            places = np.searchsorted(sums[order], row).clip(max=len(sums) - 1)
            if (sums[order][places] == row).all():
                return choices[order[places]].T, values
    return None


def _sums(choices: Array, values: Array) -> Iterator[Array]:
    """What the signs (choices, planes) make of the values, float32: in one rounding, or in more."""
    signed = choices * values
    yield signed.astype("float64").sum(axis=1).astype("float32")
    if len(values) > PLANES[0]:
        for first in range(len(values)):
            one, other = (i for i in range(len(values)) if i != first)
            yield (signed[:, one] + signed[:, other]) + signed[:, first]


def _pairs(sizes: Array) -> Iterator[Array]:
    """Values whose sum and difference may be these one or two magnitudes (descending, float64)."""
    p, q = sizes if len(sizes) > 1 else (sizes[0], sizes[0] / 2)
    for first in _near((p + q) / 2):
        for second in (first - q, p - first, (p - q) / 2):
            for near in _near(second):
                yield np.array([first, near], "float32")


def _triples(sizes: Array) -> Iterator[Array]:
    """Values u > v > w whose sums with signs may have these magnitudes (descending, float64).

        a = u + v + w     b = u + v - w     c = u - v + w     d = u - v - w, perhaps negative

    The magnitudes are rounded, the smaller ones the less: each value follows from several of them.
    """
    a, b, c = sorted([*sizes, sizes[0] / 2, sizes[0] / 4][:3] if len(sizes) < 3 else sizes[:3])[
        ::-1
    ]
    for d in (sizes[3], -sizes[3]) if len(sizes) > 3 else (b + c - a,):
        for u in (*_near((b + c) / 2), *_near((a + d) / 2)):
            for middle in {(a - c) / 2, (b - d) / 2, (a + b) / 2 - u, u - (c + d) / 2}:
                for v in _near(middle):
                    for last in ((c - d) / 2, (a - b) / 2, a - u - v, v + c - u, u - v - d):
                        for w in _near(last):
                            yield np.array([u, v, w], "float32")


def _near(value: float) -> tuple[float, ...]:
    """The float32 numbers around a value."""
    middle = np.float32(value)
    steps = np.nextafter(middle, np.float32(-np.inf)), np.nextafter(middle, np.float32(np.inf))
    return float(middle), *map(float, steps)


@tvm.transform.module_pass(opt_level=0, name="RecoverPlanes")
class RecoverPlanes:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        return rewrite_functions(mod, _RecoverPlanes)
