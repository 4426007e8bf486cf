"""The main job: an ONNX file in, a bundle out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qcompile.certificate import certificate
from qcompile.errors import InvalidInput, QCompileError, Unsupported
from qcompile.export import ExportResult, export_bundle
from qcompile.export.folder import expect_replaceable
from qcompile.lowering import Analysis, Dump, Lowering
from qcompile.scales import usual_scales
from qcompile.targets import Target, VtaTarget
from qcompile.threads import expect_threads
from qcompile.tuned import (
    Sources,
    summary,
    tuning_of_layer,
)
from qcompile.tvm_errors import register_errors
from qcompile.variants import read_variants
from qcompile.vta.compiling import divided_for_board, lower_for_board

Progress = Callable[[str, int, int], None]
STEPS = 4


@dataclass(frozen=True)
class CompileResult:
    """A written bundle and what is in it."""

    analysis: Analysis
    export: ExportResult


def analyze(
    model: Path,
    target: Target | VtaTarget,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    scales: str | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """What the layers of an ONNX file become on `target`, without generating code."""
    register_errors()
    say = progress or (lambda what, done, of: None)
    lower = Lowering(batch, shapes, False, scales or usual_scales(target), Sources(()))
    form = lower.integer_form(model, Dump(None), lambda what, k: None)
    if isinstance(target, VtaTarget):
        return divided_for_board(lower, form, target, lambda what: say(what, 0, 0))[1]
    return lower.analysis(form, target, lambda what: say(what, 0, 0))


def compile_model(
    model: Path,
    target: Target | VtaTarget,
    *,
    output: Path,
    name: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    quantized_io: bool = False,
    scales: str | None = None,
    threads: int = 1,
    records: str | Path | None = None,
    shipped_records: bool = True,
    variants: str | Path | None = None,
    dump_ir: str | Path | None = None,
    kernels: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> CompileResult:
    """Compile the ONNX file `model` into the bundle folder `output`.

    The arguments are those of `qcompile compile`; without `shipped_records` only the user's records
    count. `kernels`: "int8", "packed" or "bits" by the layer's name, where measurements of whole
    networks decide and not the table of costs; a processor's alone, and not of variants. `scales`
    are exact for a processor, and powers of two for VTA, which takes no others, unless they are
    given. Raises QCompileError and leaves `output` as it was.
    """
    expect_threads(threads)
    register_errors()
    expect_replaceable(output)
    others = read_variants(variants) if variants is not None else {}
    sources = Sources.read(records, shipped_records=shipped_records, threads=threads)
    say = progress or (lambda what, done, of: None)
    steps = STEPS + (STEPS - 1) * len(others)
    asked = dict(kernels or {})
    lower = Lowering(batch, shapes, quantized_io, scales or usual_scales(target), sources, asked)
    others_lower = replace(lower, kernels_of={})
    folder = None if dump_ir is None else Path(dump_ir)
    if isinstance(target, VtaTarget):
        if others:
            raise Unsupported(f"--variants: {target.name} has no room for a second network")
        if asked:
            raise Unsupported(f"kernels: {target.name} has one for each layer; leave them out")
        return _compile_for_board(model, target, lower, output, name or model.stem, folder, say)
    network = lower(model, target, Dump(folder), lambda what, k: say(what, k, steps))
    if strangers := set(asked) - set(network.analysis.kernels):
        raise InvalidInput(f"kernels: the network has no layer {sorted(strangers)[0]!r}")
    lowered = {}
    for number, (variant, file) in enumerate(others.items(), 1):
        done = (STEPS - 1) * number

        def told(what: str, k: int, variant: str = variant, done: int = done) -> None:
            say(f"{variant}: {what}", done + k, steps)

        with _naming(variant):
            lowered[variant] = others_lower(file, target, Dump(folder and folder / variant), told)
    say("library", steps - 1, steps)
    exported = export_bundle(
        network.kernels,
        name=name or model.stem,
        target=target,
        output=output,
        threads=threads,
        variants={variant: each.kernels for variant, each in lowered.items()},
        report=_report(network.analysis, {v: e.analysis for v, e in lowered.items()}, sources),
        certificate=_certificate(network.analysis, {v: e.analysis for v, e in lowered.items()}),
        progress=lambda what: say(what, steps - 1, steps),
    )
    say("done", steps, steps)
    return CompileResult(network.analysis, exported)


def _compile_for_board(
    model: Path,
    board: VtaTarget,
    lower: Lowering,
    output: Path,
    name: str,
    dump_ir: Path | None,
    say: Progress,
) -> CompileResult:
    """The same for a processor with VTA beside it."""
    dump = Dump(dump_ir)
    form = lower.integer_form(model, dump, lambda what, k: say(what, k, STEPS))
    network = lower_for_board(lower, form, board, lambda what: say(what, 2, STEPS))
    analysis = network.lowered.analysis
    dump("3_kernels", network.lowered.kernels)
    say("library", STEPS - 1, STEPS)
    exported = export_bundle(
        network.lowered.kernels,
        name=name,
        target=replace(board.host, name=board.name),
        output=output,
        threads=lower.sources.threads,
        report=_report(analysis, {}, lower.sources) | {"vta": analysis.vta},
        certificate=_certificate(analysis, {}),
        accelerator=network.accelerator,
        progress=lambda what: say(what, STEPS - 1, STEPS),
    )
    say("done", STEPS, STEPS)
    return CompileResult(analysis, exported)


@contextmanager
def _naming(variant: str) -> Iterator[None]:
    """Errors of the block say which variant they are about."""
    try:
        yield
    except QCompileError as error:
        raise type(error)(f"variant {variant!r}: {error}") from error


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
