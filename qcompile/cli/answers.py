"""What `--json` writes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcompile.commands.bench import Bench
    from qcompile.commands.check import Check
    from qcompile.commands.model_bench import ModelBench
    from qcompile.layerwise import LayerAgreement
    from qcompile.tuning.result import TuneResult


def check_answer(found: Check, layers: bool = False) -> dict[str, Any]:
    """Layers, float operators, totals, the comparison, the proofs and every layer's agreement.

    The last three are null where they were not asked for.
    """
    from qcompile.certificate import certificate
    from qcompile.targets import VtaTarget

    analysis = found.analysis
    processor = found.target.host if isinstance(found.target, VtaTarget) else found.target
    comparison = None
    if found.comparison is not None:
        comparison = asdict(found.comparison)
        # JSON knows no infinity: null stands for an output that is no number on one side only.
        comparison["max_difference"] = {
            name: _finite(value) for name, value in found.comparison.max_difference.items()
        }
    return {
        "model": str(found.model),
        "target": found.target.name,
        "features": list(processor.features),
        "inputs": [_plain(tensor) for tensor in analysis.inputs],
        "outputs": [_plain(tensor) for tensor in analysis.outputs],
        "layers": [_plain(layer) for layer in analysis.layers],
        "float_ops": [_plain(op) for op in analysis.float_ops],
        "costs_source": analysis.costs_source,
        "totals": {
            "macs": sum(layer.macs for layer in analysis.layers),
            "integer_macs": sum(layer.macs for layer in analysis.layers if layer.integer),
            "weight_bytes": sum(layer.weight_bytes for layer in analysis.layers),
        },
        "scales": found.scales,
        "vta": analysis.vta,
        "comparison": comparison,
        "certificate": certificate(analysis.accumulators, analysis.kernels) if layers else None,
        "agreement": None if found.layers is None else [_agreement(x) for x in found.layers],
    }


def _agreement(layer: LayerAgreement) -> dict[str, Any]:
    """One tensor; an infinite difference (a number on one side only) is null."""
    answer = {**asdict(layer), "agrees": layer.agrees}
    return {**answer, "difference": _finite(layer.difference)}


def bench_answer(found: Bench) -> dict[str, Any]:
    """Latencies in seconds, ours first; why a peer is missing; layers when asked for."""
    return {
        "name": found.manifest.name,
        "variant": found.manifest.variant,
        "target": found.manifest.target,
        "device": found.device,
        "emulated": found.emulated,
        "threads": found.threads,
        "latencies": [asdict(latency) for latency in found.latencies],
        "failed": found.failed,
        "layers": [asdict(layer) for layer in found.layers],
        "warnings": found.warnings,
        "lost": found.lost,
    }


def model_answer(found: ModelBench) -> dict[str, Any]:
    """Modelled cycles, never measured, of one inference and of its layers."""
    return {
        "name": found.manifest.name,
        "variant": found.manifest.variant,
        "target": found.manifest.target,
        "device": found.device,
        "model_of": found.core,
        "clock_hz": found.clock_hz,
        "modelled_cycles": found.cycles,
        "modelled_s": found.modelled_s,
        "instructions": found.instructions,
        "unmodelled": found.unmodelled,
        "layers": [asdict(layer) for layer in found.layers],
    }


def tune_answer(found: TuneResult) -> dict[str, Any]:
    """Tasks with what was found for each (times of one call), totals, the curve and failures."""
    return {
        "target": found.target,
        "records": str(found.records),
        "tasks": [
            {**asdict(task), "gain": task.gain, "of_limit": task.of_limit} for task in found.tasks
        ],
        "before_s": found.before_s,
        "after_s": found.after_s,
        "measured": found.measured,
        "known": found.known,
        "curve": [asdict(point) for point in found.curve],
        "limits": dict(found.limits),
        "earlier": found.earlier,
        "threads": found.threads,
        "head_start": None if found.head_start is None else asdict(found.head_start),
        "failures": [{"task": task, **asdict(failure)} for task, failure in found.failures],
        "skipped": asdict(found.skipped),
        "lost": list(found.lost),
        "interrupted": found.interrupted,
    }


def _finite(value: float) -> float | None:
    return value if value != float("inf") else None


def _plain(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else asdict(value)
