"""The proof that no accumulator overflows: the lowest and highest sum of every integer layer.

    conv2d, dense   sum over the window of (x - z) * w[o], plus bias[o], x any of its codes
    batch_matmul    sum of (a - z_a) * (b - z_b)
    sum_pool2d      sum of x - z over the window

The weights are constants, so each product reaches its own extremes and every bound of these is
reached by some data of so many bits; nothing is estimated. Weights with zero points have sums of
codes, sums of the data (name_sums) and their difference (name_corrected). Positions outside the
image add nothing: each set of window positions that lies inside for some output is bounded by
itself. While the zero point lies between the lowest and the highest code, 0 lies between the
extremes of every product, so that partial sums, the bias first, lie within the bounds in any order.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.bounds import Bounds, bounded
from qcompile.errors import Unsupported
from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import operator_name

FORMAT = 1
INT32 = (-(2**31), 2**31 - 1)
FLOAT32_EXACT = 2**24  # every integer of at most this magnitude is a float32


@dataclass(frozen=True)
class Accumulator:
    """The sums of one layer. `bits`: of the narrowest two's complement integer that holds them.

    codes: the lowest and the highest of the data; channel: the output channel of the sum with the
    largest magnitude; float32_exact: whether float32 holds every sum between the bounds.
    """

    name: str
    op: str
    codes: tuple[int, int]
    lowest: int
    highest: int
    channel: int
    bits: int
    float32_exact: bool


def accumulators(integer_form: tvm.IRModule) -> list[Accumulator]:
    """The bounds of every integer layer of a module in integer form, in its order.

    Raises Unsupported for a layer whose sums an int32 does not hold.
    """
    proofs: dict[str, Accumulator] = {}
    calls = dict(_calls(integer_form["main"]))
    for var, call in calls.items():
        corrected = _corrected(call, calls)
        call, zero = corrected or (call, None)
        found = bounded(call, zero)
        if found is None:
            continue
        name = str(call.attrs["layer"]) if "layer" in call.attrs else str(var.name)
        suffix = "" if name not in proofs else "_sums" if corrected is None else "_corrected"
        proofs[name + suffix] = _proved(name + suffix, operator_name(call), *found)
    return list(proofs.values())


def certificate(proofs: Iterable[Accumulator], kernels: Mapping[str, str]) -> dict[str, Any]:
    """What certificate.json holds; kernels: by the name of the layer."""
    layers = [{**asdict(p), "kernel": kernels[p.name], "int32": True} for p in proofs]
    return {"format": FORMAT, "layers": layers}


def _proved(name: str, operator: str, codes: tuple[int, int], bounds: Bounds) -> Accumulator:
    lowest, highest = int(bounds[0].min()), int(bounds[1].max())
    if lowest < INT32[0] or highest > INT32[1]:
        raise Unsupported(
            f"{operator.rpartition('.')[2]} '{name}': its sums reach from {lowest} to {highest}, "
            "which an int32 does not hold; fewer bits or fewer inputs of a sum would"
        )
    return Accumulator(
        name=name,
        op=operator.rpartition(".")[2],
        codes=codes,
        lowest=lowest,
        highest=highest,
        channel=int(np.abs(bounds).max(axis=0).argmax()),
        bits=1 + max(highest.bit_length(), (-1 - lowest).bit_length() if lowest < 0 else 0),
        float32_exact=max(-lowest, highest) <= FLOAT32_EXACT,
    )


def _calls(function: relax.Function) -> Iterator[tuple[relax.Var, tvm.ir.Call]]:
    for block in function.body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value):
                yield binding.var, binding.value


def _corrected(
    call: tvm.ir.Call, calls: Mapping[relax.Var, tvm.ir.Call]
) -> tuple[tvm.ir.Call, NDArray[np.int64]] | None:
    """The contraction and the zero points (O,) of its weights that a subtraction takes off.

    integer_conv2d.py, integer_matmul.py: sums of codes minus zero points times window sums.
    """
    if operator_name(call) != "relax.subtract":
        return None
    product, excess = (calls.get(argument, argument) for argument in call.args)
    if operator_name(product) not in (CONV2D, DENSE) or operator_name(excess) != "relax.multiply":
        return None
    windows, zero = calls.get(excess.args[0], excess.args[0]), constant(excess.args[1])
    if operator_name(windows) == "relax.repeat":
        windows = calls.get(windows.args[0], windows.args[0])
    if zero is None or operator_name(windows) != operator_name(product):
        return None
    same = str(windows.attrs["layer"]) == str(product.attrs["layer"])
    return (product, zero.astype("int64")) if same else None
