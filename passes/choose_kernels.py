"""Choose for every integer layer the kernel that is predicted to be fastest.

    qcompile.conv2d(x, w, b)  ->  qcompile.conv2d(x, w, b, kernel="int8" or "bits")      dense alike

A layer may run on bits when data and weights have few planes together; it does where the target's
table of costs predicts less time. The kernels that were possible stand in the module's attribute
`qcompile.choices`, by layer. Left alone: depthwise convolutions and products of two activations,
which have int8 kernels alone.
"""

import json
from dataclasses import asdict

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.ops.contractions import CONV2D, DENSE
from qcompile.passes.bit_planes import weight_planes
from qcompile.passes.kernel_costs import (
    MAX_PAIRS,
    Estimate,
    bits_estimate,
    extents_of,
    groups_of,
    int8_estimate,
    weights_of,
)
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions
from qcompile.targets import Target
from qcompile.targets.costs import costs_of

CHOICES = "qcompile.choices"
INT8, BITS = "int8", "bits"


def chosen(call: tvm.ir.Call) -> str:
    """The kernel that was chosen for a call; "" for other operators."""
    if operator_name(call) not in (CONV2D, DENSE):
        return ""
    return str(call.attrs["kernel"]) if "kernel" in call.attrs else INT8


class _ChooseKernels(BindingRewriter):
    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._costs = costs_of(target)
        self.choices: dict[str, list[Estimate]] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) not in (CONV2D, DENSE):
            return None
        possible = [int8_estimate(call, self._target, self._costs)]
        weights = weight_planes(weights_of(call))
        one_channel = extents_of(call).depth == 1 and groups_of(call) > 1
        if not one_channel and weights.bits * int(call.attrs["a_bits"]) <= MAX_PAIRS:
            possible.append(bits_estimate(call, weights, self._target, self._costs))
        possible.sort(key=lambda estimate: estimate.seconds)
        self.choices.setdefault(str(call.attrs["layer"]), possible)
        attributes = {key: call.attrs[key] for key in call.attrs.keys()}  # noqa: SIM118
        attributes["kernel"] = possible[0].kernel
        attrs = tvm.ir.make_node("ir.DictAttrs", **attributes)
        return tvm.ir.Call(call.op, call.args, attrs=attrs)


def ChooseKernels(target: Target) -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass for one target."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        rewriters: list[_ChooseKernels] = []

        def start() -> _ChooseKernels:
            rewriters.append(_ChooseKernels(target))
            return rewriters[-1]

        mod = rewrite_functions(mod, start)
        choices = {
            layer: [asdict(estimate) for estimate in estimates]
            for rewriter in rewriters
            for layer, estimates in rewriter.choices.items()
        }
        return mod.with_attr(CHOICES, json.dumps(choices))

    return tvm.transform.module_pass(transform, opt_level=0, name="ChooseKernels")
