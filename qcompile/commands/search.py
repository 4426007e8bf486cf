"""Choose bit widths by what they take on devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcompile.errors import InvalidInput

if TYPE_CHECKING:
    from qcompile.search.loop.co_design import CoDesign
    from qcompile.search.loop.fine_tuning import FineTune
    from qcompile.search.loop.request import Request
    from qcompile.search.loop.results import SearchResult
    from qcompile.search.loop.watcher import Watcher

BITS = (8, 4, 2)


class Quiet:
    """Tells nobody."""

    def say(self, text: str) -> None:
        pass

    def step(self, stage: str, done: int, total: int) -> None:
        pass

    def point(self, point: object, device: str) -> None:
        pass


def search_bits(
    model: str | Path,
    on: str | Sequence[str],
    data: str | Path,
    output: str | Path,
    *,
    calibration: str | Path | None = None,
    records: str | Path | None = None,
    bits: Sequence[int] = BITS,
    budget_ms: float | None = None,
    budget_kib: float | None = None,
    max_drop: float | None = None,
    fine_tune: str | FineTune | None = None,
    plots: bool = False,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> SearchResult:
    """The bit widths of the float ONNX file `model` that are worth having on each device.

    `on`: TARGET or TARGET=DEVICE (by default this machine for `host`, the simulator for boards with
    VTA, model:TARGET for others). `data`: labelled samples (qcompile.arrays); `calibration`: inputs
    to quantize by, by default the first of `data` without their labels. `bits`: the widths to
    choose from; 8 is always one. Budgets are of one inference and of all packed weights; `max_drop`
    is of the float accuracy, in points: 1 unless there is a budget. `fine_tune`: a command, or a
    function from the content of a bits.json and a path to the path of a quantized ONNX file.

    The folder `output` gets pareto.json, report.md and best/; a search that was stopped goes on
    from there. Raises QCompileError; Infeasible when no assignment keeps the budgets. Where the
    accuracy cannot be reached, `best` of that device is None.
    """
    from qcompile.search.loop.fine_tuning import command
    from qcompile.search.loop.searching import Search

    if plots:
        from qcompile.commands.plots import expect_matplotlib

        expect_matplotlib()
    request = _request(
        model, on, data, output, calibration, records, bits, budget_ms, budget_kib, max_drop, seed
    )
    hook = command(fine_tune) if isinstance(fine_tune, str) else fine_tune
    return Search(request, watcher or Quiet()).run(hook, plots)


def search_accelerator(
    model: str | Path,
    board: str,
    data: str | Path,
    output: str | Path,
    *,
    calibration: str | Path | None = None,
    bits: Sequence[int] = BITS,
    budget_ms: float | None = None,
    max_drop: float | None = None,
    space: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> CoDesign:
    """The bit widths of `model` and the VTA configuration of a board, chosen together.

    `board`: one with VTA, whose part's DSP, LUT and BRAM limit the configuration. The rest is as
    for `search_bits`; `max_drop` is of the accuracy of the board's own configuration at 8 bits.
    All layers may take all widths here, the first and the last too: fewer bits make the whole
    accelerator smaller. `space`: values of the configuration's fields to choose from, in the form
    of qcompile.search.accelerator.space, by default those around the board's own. best/ also has
    board.toml, a target that `compile` takes. Raises QCompileError.
    """
    from qcompile.search.loop.co_design import co_design

    request = _request(
        model, board, data, output, calibration, None, bits, budget_ms, None, max_drop, 0
    )
    return co_design(request, watcher or Quiet(), space)


def _request(
    model: str | Path,
    on: str | Sequence[str],
    data: str | Path,
    output: str | Path,
    calibration: str | Path | None,
    records: str | Path | None,
    bits: Sequence[int],
    budget_ms: float | None,
    budget_kib: float | None,
    max_drop: float | None,
    seed: int,
) -> Request:
    from qcompile.search.loop.request import Request, expect_positive, read_place, read_widths

    budgets = {"budget_ms": budget_ms, "budget_kib": budget_kib, "max_drop": max_drop}
    for name, value in budgets.items():
        expect_positive(name, value)
    places = tuple(read_place(text) for text in ([on] if isinstance(on, str) else on))
    if not places:
        raise InvalidInput("on: found no target; `host` is this machine")
    if len({place.name for place in places}) < len(places):
        raise InvalidInput(f"on: found one device twice among {', '.join(p.name for p in places)}")
    return Request(
        model=Path(model),
        places=places,
        data=Path(data),
        calibration=None if calibration is None else Path(calibration),
        records=None if records is None else Path(records),
        bits=read_widths(bits),
        budget_s=None if budget_ms is None else budget_ms / 1e3,
        budget_bytes=None if budget_kib is None else int(budget_kib * 1024),
        max_drop=max_drop,
        output=Path(output),
        seed=seed,
    )
