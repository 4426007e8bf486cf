"""Pictures of a search: its fronts, widths, predictions and sensitivities."""

from pathlib import Path

from qcompile.commands.plots import expect_matplotlib
from qcompile.search.loop.front import accuracy_of, time_of
from qcompile.search.loop.results import SearchResult
from qcompile.search.loop.sweep import Sensitivity


def draw_search(found: SearchResult, sensitivity: Sensitivity, folder: Path) -> list[str]:
    """Write the pictures into `folder`; their names."""
    expect_matplotlib()
    names = ["sensitivities.png"]
    _draw_sensitivity(sensitivity, folder / names[0])
    for each in found.devices:
        device = each.where.folder
        for kind, draw in (
            ("front", _draw_front),
            ("predicted", _draw_predicted),
            ("bits", _draw_bits),
        ):
            names.append(f"{kind}_{device}.png")
            draw(found, each.where.name, folder / names[-1])
    return names


def _draw_front(found: SearchResult, device: str, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel="ms", ylabel="accuracy (%)", title=device)
    for kind in ("float32", "uniform", "chosen", "fine-tuned"):
        points = [p for p in found.points if p.kind == kind and p.measured(device)]
        x = [1e3 * time_of(p, device) for p in points]
        axes.scatter(x, [100 * accuracy_of(p, device) for p in points], label=kind)
    front = next(each.front for each in found.devices if each.where.name == device)
    x = [1e3 * time_of(p, device) for p in front]
    axes.plot(x, [100 * accuracy_of(p, device) for p in front], label="front")
    axes.legend()
    figure.savefig(file)


def _draw_predicted(found: SearchResult, device: str, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel="measured (ms)", ylabel="predicted (ms)", title=device)
    points = [p.on[device] for p in found.points if p.measured(device)]
    for name, marker in (("predicted_s", "o"), ("fitted_s", "x")):
        told = [(x.measured_s, getattr(x, name)) for x in points if getattr(x, name) is not None]
        label = "before it was measured" if name == "predicted_s" else "after the corrections"
        axes.scatter(
            [1e3 * (m or 0) for m, _ in told],
            [1e3 * p for _, p in told],
            marker=marker,
            label=label,
        )
    axes.axline((0, 0), slope=1, linewidth=0.5)
    axes.legend()
    figure.savefig(file)


def _draw_bits(found: SearchResult, device: str, file: Path) -> None:
    from matplotlib.figure import Figure

    each = next(each for each in found.devices if each.where.name == device)
    points = [p for p in (each.front or ()) if p.bits]
    layers = [layer.name for layer in found.material.layers]
    figure = Figure(figsize=(2 + 0.4 * len(layers), 4), layout="constrained")
    axes = figure.add_subplot(ylabel="bits of weights (line), inputs (dashed)", title=device)
    for number, point in enumerate(points):
        assert point.bits is not None
        for what, style in (("weights", "-"), ("activations", "--")):
            bits = [getattr(point.bits[name], what) for name in layers]
            label = point.name if style == "-" else None
            axes.step(range(len(layers)), bits, style, where="mid", color=f"C{number}", label=label)
    axes.set_xticks(range(len(layers)), layers, rotation=90, fontsize="x-small")
    if points:
        figure.legend(loc="outside right upper", fontsize="x-small")
    figure.savefig(file)


def _draw_sensitivity(sensitivity: Sensitivity, file: Path) -> None:
    from matplotlib.figure import Figure

    widths = sorted({each for scores in sensitivity.values() for each in scores}, key=str)
    figure = Figure(figsize=(2 + 0.4 * len(sensitivity), 4), layout="constrained")
    axes = figure.add_subplot(ylabel="sensitivity", yscale="log")
    for each in widths:
        known = [k for k, scores in enumerate(sensitivity.values()) if scores.get(each, 0) > 0]
        values = [list(sensitivity.values())[k][each] for k in known]
        axes.plot(known, values, "o", label=f"w{each.weights}a{each.activations}")
    axes.set_xticks(range(len(sensitivity)), list(sensitivity), rotation=90, fontsize="x-small")
    figure.legend(loc="outside right upper", fontsize="x-small")
    figure.savefig(file)
