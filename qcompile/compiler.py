"""The main job: an ONNX file in, a bundle out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tvm

from qcompile.analysis import FloatOperator, LayerFacts, float_operators, layer_facts
from qcompile.certificate import Accumulator, accumulators, certificate
from qcompile.errors import QCompileError, Unsupported
from qcompile.export import ExportResult, export_bundle
from qcompile.export.folder import expect_replaceable
from qcompile.files import make_folder, write_whole
from qcompile.frontend import ImportedModel, import_onnx
from qcompile.measure.host_costs import costs_for
from qcompile.passes.choose_kernels import ChooseKernels
from qcompile.passes.power_of_two import Rescaled, rescaled_layers
from qcompile.passes.schedule_kernels import ScheduleKernels
from qcompile.passes.strip_outer_quantizers import BORDER, StripOuterQuantizers
from qcompile.pipeline import (
    Pass,
    integer_form_passes,
    lower_chosen_passes,
    lower_passes,
    own_form_passes,
    task_passes,
)
from qcompile.scales import EXACT
from qcompile.targets import Target
from qcompile.targets.costs import Costs
from qcompile.tuned import (
    KernelTuning,
    Sources,
    decided_by,
    summary,
    tuning_of_layer,
    tunings_of,
)
from qcompile.tvm_errors import register_errors
from qcompile.variants import read_variants

Progress = Callable[[str, int, int], None]
STEPS = 4


@dataclass(frozen=True)
class Analysis:
    """A model's layers and what stays float on a target.

    accumulators: the proofs of the integer layers. costs_source: where the costs are from that the
    kernels were chosen by. tuning: of the kernels, once they are compiled. rescaled:
    layers whose scales became powers of two.
    """

    layers: tuple[LayerFacts, ...]
    accumulators: tuple[Accumulator, ...]
    float_ops: tuple[FloatOperator, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    costs_source: str
    tuning: tuple[KernelTuning, ...] = ()
    rescaled: tuple[Rescaled, ...] = ()

    @property
    def kernels(self) -> dict[str, str]:
        """The kernel of every layer, by the layer's name; the operator of sums of windows."""
        pools = {sums.name: sums.op for sums in self.accumulators}
        return pools | {layer.name: layer.kernel for layer in self.layers}


@dataclass(frozen=True)
class CompileResult:
    """A written bundle and what is in it."""

    analysis: Analysis
    export: ExportResult


def analyze(
    model: Path,
    target: Target,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """What the layers of an ONNX file become on `target`, without generating code."""
    register_errors()
    imported = import_onnx(model, batch=batch, shapes=shapes)
    integer_form = _run(imported.mod, [*own_form_passes(), *integer_form_passes()])
    say = progress or (lambda what, done, of: None)
    costs = costs_for(target, integer_form, lambda what: say(what, 0, 0))
    lowered = _run(integer_form, lower_passes(target, costs))
    return _analysis(imported, integer_form, lowered, costs)


def compile_model(
    model: Path,
    target: Target,
    *,
    output: Path,
    name: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    quantized_io: bool = False,
    scales: str = EXACT,
    records: str | Path | None = None,
    shipped_records: bool = True,
    variants: str | Path | None = None,
    dump_ir: str | Path | None = None,
    progress: Progress | None = None,
) -> CompileResult:
    """Compile the ONNX file `model` into the bundle folder `output`.

    The arguments are those of `qcompile compile`; without `shipped_records` only the user's records
    count. Raises QCompileError and leaves `output` as it was.
    """
    register_errors()
    expect_replaceable(output)
    others = read_variants(variants) if variants is not None else {}
    sources = Sources.read(records, shipped_records=shipped_records)
    say = progress or (lambda what, done, of: None)
    steps = STEPS + (STEPS - 1) * len(others)
    lower = _Lowering(target, batch, shapes, quantized_io, scales, sources)
    folder = None if dump_ir is None else Path(dump_ir)
    network = lower(model, _Dump(folder), lambda what, k: say(what, k, steps))
    lowered = {}
    for number, (variant, file) in enumerate(others.items(), 1):
        done = (STEPS - 1) * number

        def told(what: str, k: int, variant: str = variant, done: int = done) -> None:
            say(f"{variant}: {what}", done + k, steps)

        with _naming(variant):
            lowered[variant] = lower(file, _Dump(folder and folder / variant), told)
    say("library", steps - 1, steps)
    exported = export_bundle(
        network.kernels,
        name=name or model.stem,
        target=target,
        output=output,
        variants={variant: each.kernels for variant, each in lowered.items()},
        report=_report(network.analysis, {v: e.analysis for v, e in lowered.items()}, sources),
        certificate=_certificate(network.analysis, {v: e.analysis for v, e in lowered.items()}),
        progress=lambda what: say(what, steps - 1, steps),
    )
    say("done", steps, steps)
    return CompileResult(network.analysis, exported)


@dataclass(frozen=True)
class _Lowered:
    """A network as the exporter takes it."""

    kernels: tvm.IRModule
    analysis: Analysis


@dataclass(frozen=True)
class _Lowering:
    """The way from an ONNX file to scheduled kernels, with the options of `compile`."""

    target: Target
    batch: int | None
    shapes: Mapping[str, Sequence[int]] | None
    quantized_io: bool
    scales: str
    sources: Sources

    def __call__(self, model: Path, dump: "_Dump", say: Callable[[str, int], None]) -> _Lowered:
        say("reading the model", 0)
        imported = import_onnx(model, batch=self.batch, shapes=self.shapes)
        dump("1_quantized_form", imported.mod)
        say("integer form", 1)
        outer = [StripOuterQuantizers()] if self.quantized_io else []
        passes = [*own_form_passes(), *outer, *integer_form_passes(self.scales)]
        integer_form = _run(imported.mod, passes)
        if self.quantized_io:
            _expect_codes(integer_form)
        dump("2_integer_form", integer_form)
        say("kernels", 2)
        costs = costs_for(self.target, integer_form, lambda what: say(what, 2))
        chosen = _run(integer_form, [ChooseKernels(self.target, costs)])
        lowered, fused, tuning = self._tuned(chosen)
        analysis = _analysis(imported, integer_form, lowered, costs, tuning)
        kernels = _run(fused, [ScheduleKernels(self.target)])
        dump("3_kernels", kernels)
        return _Lowered(_described(kernels, imported, analysis), analysis)

    def _tuned(
        self, chosen: tvm.IRModule
    ) -> tuple[tvm.IRModule, tvm.IRModule, tuple[KernelTuning, ...]]:
        """The network lowered and fused, with the decisions that its records tell."""
        lowered = _run(chosen, lower_chosen_passes(self.target))
        fused = _run(lowered, task_passes())
        tuning = tunings_of(fused, self.target, self.sources)
        if decided := decided_by(tuning):
            lowered = _run(chosen, lower_chosen_passes(self.target, decided))
            fused = _run(lowered, task_passes())
        return lowered, fused, tuning


@contextmanager
def _naming(variant: str) -> Iterator[None]:
    """Errors of the block say which variant they are about."""
    try:
        yield
    except QCompileError as error:
        raise type(error)(f"variant {variant!r}: {error}") from error


def _run(mod: tvm.IRModule, passes: Sequence[Pass]) -> tvm.IRModule:
    return tvm.transform.Sequential(list(passes))(mod)


def _analysis(
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


def _report(
    analysis: Analysis, variants: Mapping[str, Analysis], sources: Sources
) -> dict[str, Any]:
    tunings = [tuning_of_layer(analysis.tuning, x.name, x.kernel) for x in analysis.layers]
    layers = zip(analysis.layers, tunings, strict=True)
    report: dict[str, Any] = {
        "layers": [asdict(layer) | {"tuning": tuning.told()} for layer, tuning in layers],
        "kernels": [
            {"operator": each.operator, "layer": each.layer} | each.told()
            for each in analysis.tuning
        ],
        "tuning": summary(analysis.tuning, sources),
        "float_ops": [asdict(operator) for operator in analysis.float_ops],
        "costs_source": analysis.costs_source,
    }
    if analysis.rescaled:
        report["power_of_two"] = [asdict(layer) for layer in analysis.rescaled]
    if variants:
        report["variants"] = {name: _report(each, {}, sources) for name, each in variants.items()}
    return report


def _certificate(analysis: Analysis, variants: Mapping[str, Analysis]) -> dict[str, Any]:
    papers = dict(certificate(analysis.accumulators, analysis.kernels))
    if variants:
        papers["variants"] = {name: _certificate(each, {}) for name, each in variants.items()}
    return papers


class _Dump:
    """Writes the module after each step, as TVMScript, where a folder is given."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            make_folder(folder)

    def __call__(self, step: str, mod: tvm.IRModule) -> None:
        if self._folder is not None:
            write_whole(self._folder / f"{step}.py", mod.script().encode())
