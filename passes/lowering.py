"""What the lowering passes share: kernels as calls of TE computes, and the list of layers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te
from tvm.ir import IRModule

from qcompile.bounds import bounded
from qcompile.passes.declared_patterns import DECLARED, OUT_ELEMENTWISE_FUSABLE
from qcompile.passes.facts import vector
from qcompile.passes.rewriter import BindingRewriter, rewrite_functions, shape_of
from qcompile.schedules.small_integers import LARGEST
from qcompile.schedules.space import DEFAULT, Decisions
from qcompile.targets import Target

LAYERS = "qcompile.layers"

Decided = Mapping[tuple[str, str], Decisions]
"""By the name of a kernel's schedule and that of its layer; others have default decisions."""
UNDECIDED: Decided = {}


@dataclass(frozen=True)
class Layer:
    """One operator with weights or two factors, as manifest and report list it."""

    name: str
    op: str
    kernel: str
    a_bits: int
    w_bits: int
    macs: int
    weight_bytes: int


class Lowering(BindingRewriter):
    """A rewriter that knows the target and collects the layers it lowers."""

    def __init__(self, target: Target, decided: Decided = UNDECIDED) -> None:
        super().__init__()
        self.target = target
        self.decided = decided
        self.layers: list[Layer] = []

    def decisions(self, operator: str, layer: str) -> Decisions:
        """What was decided about a layer's kernel."""
        return self.decided.get((operator, layer), DEFAULT)

    def kernel(
        self,
        compute: Callable[..., te.Tensor],
        arguments: Sequence[relax.Expr],
        hint: str,
        name: str = "",
        pattern: int = OUT_ELEMENTWISE_FUSABLE,
    ) -> relax.Var:
        """Call `compute` as a kernel of its own, into which TVM fuses by `pattern`."""
        call = self.builder.call_te(
            compute,
            *arguments,
            primfunc_name_hint=hint,
            primfunc_attrs={DECLARED: pattern},
        )
        return self.emit(call, name)

    def reshaped(self, value: relax.Expr, shape: Sequence[int]) -> relax.Expr:
        """`value` in another shape; nothing where it has it already."""
        if shape_of(value) == tuple(shape):
            return value
        return self.emit(relax.op.reshape(value, tuple(shape)))


class LoweringClass(Protocol):
    """A kind of rewriter."""

    def __call__(self, target: Target, decided: Decided, /) -> Lowering: ...


class PassFactory(Protocol):
    """What makes a lowering pass for one target."""

    def __call__(self, target: Target, decided: Decided = UNDECIDED) -> tvm.transform.Pass: ...


def packed(array: NDArray[Any]) -> relax.Expr:
    return vector(array, str(array.dtype))


def has_small_sums(call: tvm.ir.Call) -> bool:
    """Whether the sums of a contraction are small, whatever the codes (`small_integers`)."""
    found = bounded(call, None)
    assert found is not None
    return bool(np.abs(found[1]).max() <= LARGEST)


def matrix_shape(value: relax.Expr) -> tuple[int, int]:
    """Rows and depth of a tensor read as a matrix of its last axis."""
    *leading, depth = shape_of(value)
    return prod(leading), depth


def lower_functions(
    mod: IRModule, rewriter: LoweringClass, target: Target, decided: Decided = UNDECIDED
) -> IRModule:
    """Lower every Relax function and add its layers to the module's list.

    A layer of several kernels (weights with a zero point have sums of their windows, too) is listed
    once, by the one with most products.
    """
    known = json.loads(str(mod.attrs[LAYERS])) if mod.attrs and LAYERS in mod.attrs else []
    made: list[Lowering] = []

    def start() -> Lowering:
        made.append(rewriter(target, decided))
        return made[-1]

    mod = rewrite_functions(mod, start)
    layers = {str(record["name"]): record for record in known}
    for layer in (layer for lowering in made for layer in lowering.layers):
        if layer.macs > layers.get(layer.name, {"macs": -1})["macs"]:
            layers[layer.name] = asdict(layer)
    return mod.with_attr(LAYERS, json.dumps(list(layers.values())))


def passes_of(rewriter: LoweringClass, name: str) -> PassFactory:
    """A pass factory for a lowering rewriter."""

    def make(target: Target, decided: Decided = UNDECIDED) -> tvm.transform.Pass:
        def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
            return lower_functions(mod, rewriter, target, decided)

        return tvm.transform.module_pass(transform, opt_level=0, name=name)

    return make
