"""A search whose device is designed with the network: VTA's configuration and the widths."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcompile.arrays import npz_bytes
from qcompile.compiler import compile_model
from qcompile.errors import InvalidInput, OutOfReach
from qcompile.files import make_folder, write_whole
from qcompile.quantizer import QuantizeOptions, quantize_network
from qcompile.search.accelerator import CoSearch, Limits, Point, co_search
from qcompile.search.loop.material import Material, read_material
from qcompile.search.loop.points import bits_to_json
from qcompile.search.loop.request import DROP_POINTS, Request
from qcompile.search.loop.scores import measure_scores
from qcompile.search.loop.store import open_store
from qcompile.search.loop.watcher import Watcher
from qcompile.targets import VtaTarget, load_target

BOARD = "board.toml"


@dataclass(frozen=True)
class CoDesign:
    """A co-search and where it was written."""

    material: Material
    found: CoSearch
    output: Path


def co_design(
    request: Request, watcher: Watcher, space: Mapping[str, Any] | None = None
) -> CoDesign:
    """Designs and widths of which none is better in accuracy, time and area; written.

    Raises QCompileError; what is done by then is kept, and the same request goes on.
    """
    if len(request.places) != 1 or not isinstance(request.places[0].target, VtaTarget):
        raise InvalidInput("a co-search is for one board with VTA: --on vta-ultra96 would work")
    if request.budget_bytes is not None:
        raise InvalidInput("a co-search has budgets of time alone: leave budget_kib out")
    material = read_material(request, free_ends=True)
    store = open_store(material)
    if material.borrowed:
        write_whole(request.output / "calibration.npz", npz_bytes(material.calibration))
    scores, _ = measure_scores(material, store, watcher)
    drop = DROP_POINTS if request.max_drop is None else request.max_drop
    found = co_search(
        request.model,
        request.places[0].target,
        material.choices,
        scores,
        material.calibration,
        {**material.labelled.inputs, "y": material.labels},
        space=space,
        limits=Limits(max_drop=drop / 100, budget_s=request.budget_s),
        folder=store.path("accelerator"),
        progress=lambda stage, done=0, total=0: watcher.step(stage, done, total),
    )
    made = CoDesign(material, found, request.output)
    _write(made, store.path("accelerator") / "best.toml")
    return made


def expect_designed(made: CoDesign) -> None:
    """Raise OutOfReach where no design keeps what was asked for."""
    if made.found.best is None:
        raise OutOfReach(f"{made.found.board}: {made.found.remark}")


def _write(made: CoDesign, board: Path) -> None:
    for place, point in enumerate(made.found.points):
        bits = {"layers": bits_to_json(point.widths)}
        _write_json(made.output / "points" / f"{place}.json", bits)
    if made.found.best is not None:
        _keep(made, made.found.best, board)
    answer = made.found.to_json() | {"command": command(made)}
    _write_json(made.output / "pareto.json", answer)
    write_whole(made.output / "report.md", report(made).encode())


def _keep(made: CoDesign, best: Point, board: Path) -> None:
    """best/: the board's file, the network, its widths, and the bundle."""
    folder = made.output / "best"
    make_folder(folder)
    write_whole(folder / BOARD, board.read_bytes())
    _write_json(folder / "bits.json", {"layers": bits_to_json(best.widths)})
    options = QuantizeOptions(bits=dict(best.widths))
    network = quantize_network(made.material.request.model, made.material.calibration, options)
    write_whole(folder / "model.onnx", network.model.SerializeToString())
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    target = load_target(str(folder / BOARD))
    compile_model(
        folder / "model.onnx",
        target,
        output=folder / "bundle",
        name="network",
        scales=best.design.scales,
    )


def command(made: CoDesign) -> str | None:
    """What compiles the best network for the best design again."""
    best, folder = made.found.best, made.output / "best"
    if best is None:
        return None
    words = ["qcompile", "compile", str(folder / "model.onnx"), "--target", str(folder / BOARD)]
    return shlex.join([*words, "--scales", best.design.scales, "-o", "build"])


def report(made: CoDesign) -> str:
    """The text of report.md."""
    found = made.found
    lines = [
        f"# {made.material.request.model.name} and VTA on {found.board} ({found.part})",
        "",
        f"{found.designs:,} designs fit the part, {sum(found.refused.values()):,} do not. "
        f"{found.tried:,} were estimated, {found.skipped:,} more are proved to be no better"
        + ("" if found.exact else " (not all of the estimated front was enumerated)")
        + f"; {len(found.points)} points were simulated. Predictions of the last round were at "
        f"most {100 * found.error:.2f} % off. Times are simulated.",
        "",
    ]
    lines += [found.remark, ""] if found.remark else []
    lines += ["Best, made again by", "", f"    {command(made)}", ""] if found.best else []
    lines += [
        "| design | accuracy % | ms | predicted ms | area % | widths | |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    rows = sorted(found.points, key=lambda point: point.seconds)
    return "\n".join([*lines, *(_row(point, point is found.best) for point in rows)]) + "\n"


def _row(point: Point, best: bool) -> str:
    widths = [f"{one.weights}/{one.activations}" for one in point.widths.values()]
    cells = [
        point.design.name,
        "" if point.accuracy is None else f"{100 * point.accuracy:.2f}",
        f"{1e3 * point.seconds:.4g}",
        "" if point.predicted_s is None else f"{1e3 * point.predicted_s:.4g}",
        f"{100 * point.area.share:.1f}",
        " ".join(widths),
        "best" if best else point.status,
    ]
    return "| " + " | ".join(cells) + " |"


def _write_json(path: Path, content: Any) -> None:
    make_folder(path.parent)
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
