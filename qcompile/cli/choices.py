"""Which kernels could run the layers of few bits, which ones do, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qcompile.cli.tables import print_table

if TYPE_CHECKING:
    from qcompile.analysis import LayerFacts
    from qcompile.lowering import Analysis

Choice = Mapping[str, Any]  # qcompile.passes.kernel_costs.Estimate


def show_choices(analysis: Analysis) -> None:
    """Layers with more than one possible kernel: predicted times, limits, and a summary."""
    layers = [layer for layer in analysis.layers if len(_possible(layer)) > 1]
    if not layers:
        return
    rows = []
    for layer in layers:
        chosen, *others = _possible(layer)
        instead = ", ".join(f"{other['kernel']} {_told(other)}" for other in others)
        rows.append((layer.name, chosen["kernel"], _told(chosen), instead))
    print()
    print_table(["layer", "fastest kernel", "predicted on one core", "instead of"], rows)
    print()
    for line in summaries(layers):
        print(line)
    print(f"predicted by costs {analysis.costs_source}")


def summaries(layers: Sequence[LayerFacts]) -> list[str]:
    """One line for all layers of equal widths that could run as int8 and on bits, and do either."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for layer in layers:
        chosen, *others = _possible(layer)
        other = next((one for one in others if _way(one) != _way(chosen)), None)
        if other is None:
            continue
        widths = sorted({layer.a_bits, layer.w_bits})
        key = " and ".join(map(str, widths)), _way(chosen), _way(other)
        groups.setdefault(key, []).append((chosen["predicted_us"], other["predicted_us"]))
    lines = []
    for (bits, way, other_way), times in groups.items():
        count = f"{len(times)} layer{'s' if len(times) > 1 else ''} of {bits}"
        unit = "bit runs" if (bits, len(times)) == ("1", 1) else "bit run" if bits == "1" else ""
        unit = unit or ("bits runs" if len(times) == 1 else "bits run")
        slower, faster = (sum(pair[side] for pair in times) for side in (1, 0))
        lines.append(
            f"{count} {unit} {way}: predicted {slower:.3g} us {other_way}, {faster:.3g} us {way}"
        )
    return lines


def _possible(layer: LayerFacts) -> list[Choice]:
    """The kernels of a layer with a predicted time, the fastest first."""
    return [choice for choice in layer.choices if choice["predicted_us"] is not None]


def _told(choice: Choice) -> str:
    return f"{choice['predicted_us']:.3g} us ({choice['limit']})"


def _way(choice: Choice) -> str:
    return "on bits" if choice["kernel"].endswith("_bits") else "as int8"
