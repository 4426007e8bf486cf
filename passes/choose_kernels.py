"""Choose for every integer layer the kernel that is predicted to be fastest.

    qcompile.conv2d(x, w, b)  ->  qcompile.conv2d(x, w, b, kernel="bits")
                                                                    dense and batch_matmul alike

    int8      every layer
    packed    dense, with weights of 2 or 4 bits in memory that become int8 in registers
    bits      layers whose data and weights have few planes together

The table of costs predicts which is the fastest; a kernel that is asked for by the layer's name is
taken instead. The kernels of every layer stand in the module's attribute `qcompile.choices`, with
the reasons of the impossible ones.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

import tvm
from tvm import relax
from tvm.ir import IRModule

from qcompile.errors import Unsupported
from qcompile.ops.contractions import BATCH_MATMUL, CONV2D, DENSE
from qcompile.passes.kernel_costs import Estimate, estimates_of, possible_kernels
from qcompile.passes.kernel_work import layer_shape
from qcompile.passes.product_costs import bits_reason, product_estimates, product_shape
from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions
from qcompile.targets import Target
from qcompile.targets.costs import Costs

CHOICES = "qcompile.choices"
LAYERS = (CONV2D, DENSE, BATCH_MATMUL)
INT8, PACKED, BITS = "int8", "packed", "bits"
COSTS_DECIDE: Mapping[str, str] = MappingProxyType({})


def chosen(call: tvm.ir.Call) -> str:
    """The kernel that was chosen for a call; "" for other operators."""
    if operator_name(call) not in LAYERS:
        return ""
    return str(call.attrs["kernel"]) if "kernel" in call.attrs else INT8


def has_choice(mod: IRModule) -> bool:
    """Whether some layer of a module in integer form has more than one possible kernel."""
    blocks = [block for f in mod.functions.values() if _relax(f) for block in f.body.blocks]
    calls = [binding.value for block in blocks for binding in block.bindings]
    return any(_has_choice(call) for call in calls if operator_name(call) in LAYERS)


def _has_choice(call: tvm.ir.Call) -> bool:
    if operator_name(call) == BATCH_MATMUL:
        return not bits_reason(product_shape(call))
    return len(possible_kernels(layer_shape(call))) > 1


def _relax(function: tvm.ir.BaseFunc) -> bool:
    return isinstance(function, relax.Function)


def with_kernel(call: tvm.ir.Call, kernel: str) -> tvm.ir.Call:
    """The call to run on `kernel`, "int8", "packed" or "bits"."""
    attributes = {key: call.attrs[key] for key in call.attrs.keys()}  # noqa: SIM118
    attributes["kernel"] = kernel
    attrs = tvm.ir.make_node("ir.DictAttrs", **attributes)
    return tvm.ir.Call(call.op, call.args, attrs=attrs)


class _ChooseKernels(BindingRewriter):
    def __init__(self, target: Target, costs: Costs, kernels: Mapping[str, str]) -> None:
        super().__init__()
        self._target = target
        self._costs = costs
        self._kernels = kernels
        self.choices: dict[str, list[Estimate]] = {}

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        if operator_name(call) not in LAYERS:
            return None
        layer, estimates = str(call.attrs["layer"]), self._estimates(call)
        if layer in self._kernels:
            estimates = _asked_first(estimates, self._kernels[layer], layer)
        self.choices.setdefault(layer, estimates)
        return with_kernel(call, kernel_name(estimates[0].kernel))

    def _estimates(self, call: tvm.ir.Call) -> list[Estimate]:
        if operator_name(call) == BATCH_MATMUL:
            return product_estimates(call, self._target, self._costs)
        return estimates_of(layer_shape(call), self._target, self._costs)


def kernel_name(kernel: str) -> str:
    """ "bits" of "conv2d_bits"."""
    return kernel.rpartition("_")[2]


def _asked_first(estimates: list[Estimate], kernel: str, layer: str) -> list[Estimate]:
    """Raises Unsupported where the layer has no such kernel."""
    asked = [each for each in estimates if kernel_name(each.kernel) == kernel]
    if not asked or asked[0].reason is not None:
        possible = [kernel_name(each.kernel) for each in estimates if each.reason is None]
        why = f": {asked[0].reason}" if asked else ""
        raise Unsupported(
            f"layer '{layer}': it has no kernel {kernel!r}{why}; {', '.join(possible)} would work"
        )
    return asked + [each for each in estimates if each is not asked[0]]


def ChooseKernels(  # noqa: N802
    target: Target, costs: Costs, kernels: Mapping[str, str] = COSTS_DECIDE
) -> tvm.transform.Pass:
    """The pass for one target, by its table of costs. (Passes are named so.)

    kernels: "int8", "packed" or "bits" by the layer's name, where the table does not decide; the
    pass raises Unsupported for one that cannot run the layer.
    """

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        rewriters: list[_ChooseKernels] = []

        def start() -> _ChooseKernels:
            rewriters.append(_ChooseKernels(target, costs, kernels))
            return rewriters[-1]

        mod = rewrite_functions(mod, start)
        choices = {
            layer: [asdict(estimate) for estimate in estimates]
            for rewriter in rewriters
            for layer, estimates in rewriter.choices.items()
        }
        return mod.with_attr(CHOICES, json.dumps(choices))

    return tvm.transform.module_pass(transform, opt_level=0, name="ChooseKernels")
