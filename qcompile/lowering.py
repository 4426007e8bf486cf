"""The way from an ONNX file to scheduled kernels, and what is known of a network on it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tvm

from qcompile.analysis import FloatOperator, LayerFacts, float_operators, layer_facts
from qcompile.certificate import Accumulator, accumulators
from qcompile.errors import Unsupported
from qcompile.files import make_folder, write_whole
from qcompile.frontend import ImportedModel, import_onnx
from qcompile.measure.host_costs import costs_for
from qcompile.passes.choose_kernels import ChooseKernels
from qcompile.passes.power_of_two_report import Rescaled, rescaled_layers
from qcompile.passes.schedule_kernels import ScheduleKernels
from qcompile.passes.strip_outer_quantizers import BORDER, StripOuterQuantizers
from qcompile.pipeline import (
    Pass,
    integer_form_passes,
    lower_chosen_passes,
    own_form_passes,
    task_passes,
)
from qcompile.targets import Target
from qcompile.targets.costs import Costs
from qcompile.tuned import KernelTuning, Sources, decided_by, tunings_of

Say = Callable[[str, int], None]


@dataclass(frozen=True)
class Analysis:
    """A model's layers and what stays float on a target.

    accumulators: the proofs of the integer layers. costs_source: where the costs are from that the
    kernels were chosen by. tuning: of the kernels, once they are compiled. rescaled:
    layers whose scales became powers of two. vta: of a board with VTA, its programs with their
    simulated cycles, and the layers of the processor with the reasons.
    """

    layers: tuple[LayerFacts, ...]
    accumulators: tuple[Accumulator, ...]
    float_ops: tuple[FloatOperator, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    costs_source: str
    tuning: tuple[KernelTuning, ...] = ()
    rescaled: tuple[Rescaled, ...] = ()
    vta: Mapping[str, Any] | None = None

    @property
    def kernels(self) -> dict[str, str]:
        """The kernel of every layer, by the layer's name; the operator of sums of windows."""
        pools = {sums.name: sums.op for sums in self.accumulators}
        return pools | {layer.name: layer.kernel for layer in self.layers}


@dataclass(frozen=True)
class Lowered:
    """A network as the exporter takes it."""

    kernels: tvm.IRModule
    analysis: Analysis


@dataclass(frozen=True)
class IntegerForm:
    """A network on integers, and the model that it was read from."""

    imported: ImportedModel
    mod: tvm.IRModule


@dataclass(frozen=True)
class Lowering:
    """The way from an ONNX file to scheduled kernels, with the options of `compile`."""

    batch: int | None
    shapes: Mapping[str, Sequence[int]] | None
    quantized_io: bool
    scales: str
    sources: Sources
    kernels_of: Mapping[str, str] = field(default_factory=dict)  # by a layer's name

    def __call__(self, model: Path, target: Target, dump: "Dump", say: Say) -> Lowered:
        """The network of an ONNX file for a processor."""
        form = self.integer_form(model, dump, say)
        say("kernels", 2)
        lowered = self.kernels(form, target, lambda what: say(what, 2))
        dump("3_kernels", lowered.kernels)
        return lowered

    def integer_form(self, model: Path, dump: "Dump", say: Say) -> IntegerForm:
        """The network of an ONNX file in integer form."""
        say("reading the model", 0)
        imported = import_onnx(model, batch=self.batch, shapes=self.shapes)
        dump("1_quantized_form", imported.mod)
        say("integer form", 1)
        outer = [StripOuterQuantizers()] if self.quantized_io else []
        passes = [*own_form_passes(), *outer, *integer_form_passes(self.scales)]
        mod = run_passes(imported.mod, passes)
        if self.quantized_io:
            _expect_codes(mod)
        dump("2_integer_form", mod)
        return IntegerForm(imported, mod)

    def analysis(self, form: IntegerForm, target: Target, say: Callable[[str], None]) -> Analysis:
        """The analysis of the network in integer form on a processor, without its kernels."""
        costs = costs_for(target, form.mod, say)
        chosen = run_passes(form.mod, [ChooseKernels(target, costs, self.kernels_of)])
        lowered = run_passes(chosen, lower_chosen_passes(target))
        return analysis_of(form.imported, form.mod, lowered, costs)

    def kernels(self, form: IntegerForm, target: Target, say: Callable[[str], None]) -> Lowered:
        """The network in integer form as kernels for a processor."""
        costs = costs_for(target, form.mod, say)
        chosen = run_passes(form.mod, [ChooseKernels(target, costs, self.kernels_of)])
        lowered, fused, tuning = self._tuned(chosen, target)
        analysis = analysis_of(form.imported, form.mod, lowered, costs, tuning)
        kernels = run_passes(fused, [ScheduleKernels(target)])
        return Lowered(_described(kernels, form.imported, analysis), analysis)

    def _tuned(
        self, chosen: tvm.IRModule, target: Target
    ) -> tuple[tvm.IRModule, tvm.IRModule, tuple[KernelTuning, ...]]:
        """The network lowered and fused, with the decisions that its records tell."""
        lowered = run_passes(chosen, lower_chosen_passes(target))
        fused = run_passes(lowered, task_passes())
        tuning = tunings_of(fused, target, self.sources)
        if decided := decided_by(tuning):
            lowered = run_passes(chosen, lower_chosen_passes(target, decided))
            fused = run_passes(lowered, task_passes())
        return lowered, fused, tuning


def run_passes(mod: tvm.IRModule, passes: Sequence[Pass]) -> tvm.IRModule:
    return tvm.transform.Sequential(list(passes))(mod)


def analysis_of(
    imported: ImportedModel,
    integer_form: tvm.IRModule,
    lowered: tvm.IRModule,
    costs: Costs,
    tuning: tuple[KernelTuning, ...] = (),
) -> Analysis:
    return Analysis(
        layers=tuple(layer_facts(integer_form, lowered)),
        accumulators=tuple(accumulators(integer_form)),
        float_ops=tuple(float_operators(integer_form)),
        inputs=_ports(imported.inputs, integer_form, "inputs"),
        outputs=_ports(imported.outputs, integer_form, "outputs"),
        costs_source=costs.source,
        tuning=tuning,
        rescaled=rescaled_layers(integer_form),
    )


def _expect_codes(integer_form: tvm.IRModule) -> None:
    """Raises Unsupported when no quantizer was stripped from any input or output."""
    border = json.loads(str(integer_form.attrs[BORDER]))
    if not any([*border["inputs"], *border["outputs"]]):
        raise Unsupported(
            "--quantized-io: no input goes into one per-tensor quantizer alone, and no output "
            "comes from a per-tensor dequantizer; compile without it"
        )


def _ports(specs: Sequence[Any], mod: tvm.IRModule, side: str) -> tuple[dict[str, Any], ...]:
    """Names, types and shapes, with the quantization of stripped borders."""
    attributes = mod.attrs or {}
    border = json.loads(str(attributes[BORDER]))[side] if BORDER in attributes else None
    ports = []
    for index, spec in enumerate(specs):
        port = {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
        ports.append({**port, **((border[index] or {}) if border else {})})
    return tuple(ports)


def _described(kernels: tvm.IRModule, imported: ImportedModel, analysis: Analysis) -> tvm.IRModule:
    """The module with what the exporter writes into the manifest."""
    float_ops = [asdict(operator) for operator in analysis.float_ops]
    ports = {"inputs": list(analysis.inputs), "outputs": list(analysis.outputs)}
    return kernels.with_attr("qcompile.float_ops", json.dumps(float_ops)).with_attr(
        "qcompile.io", json.dumps(ports)
    )


class Dump:
    """Writes the module after each step, as TVMScript, where a folder is given."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            make_folder(folder)

    def __call__(self, step: str, mod: tvm.IRModule) -> None:
        if self._folder is not None:
            write_whole(self._folder / f"{step}.py", mod.script().encode())
