"""What each layer of a network asks of VTA at each of its widths, and of the processor.

The layers of VTA belong to layers of the network: a convolution or product is its own, what has
none (a pooling, an addition) belongs to the last one before it, else to the first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qcompile.errors import Unsupported
from qcompile.lowering import IntegerForm
from qcompile.passes.partition_vta import vta_part
from qcompile.passes.vta_segments import VtaRun
from qcompile.quantizer import Widths
from qcompile.search.accelerator.cover import Shown, covering, shown
from qcompile.search.accelerator.design import Design
from qcompile.search.accelerator.networks import (
    FloatNetwork,
    integer_form,
    lowering,
    processor_seconds,
)
from qcompile.targets import Target
from qcompile.targets.vta.planner.problem import Problem
from qcompile.targets.vta.planner.segment import problem_of


@dataclass(frozen=True)
class Work:
    """What one layer of the network is at its widths.

    problems: of VTA's layers, None for one that it has no program for; processor_s: of the layer
    on the processor, where that is known. on_vta: whether VTA has a form of it.
    """

    problems: tuple[Problem | None, ...]
    processor_s: float | None
    on_vta: bool


class NetworkWork:
    """The work of every layer in every case, for any design."""

    def __init__(
        self,
        network: FloatNetwork,
        choices: Mapping[str, Sequence[Widths]],
        host: Target,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._choices, self._host, self._progress = choices, host, progress
        self._assignments = covering(choices)
        self._models = [network.quick(each).model for each in self._told(self._assignments)]
        self._forms: dict[str, list[tuple[IntegerForm, dict[str, float | None]]]] = {}
        self._work: dict[object, dict[Shown, Work]] = {}

    def _told(self, assignments: Sequence[Mapping[str, Widths]]) -> Iterator[Mapping[str, Widths]]:
        for done, each in enumerate(assignments):
            self._progress(done, len(assignments))
            yield each

    def of(self, design: Design) -> dict[Shown, Work]:
        """The same for all designs of equal elements: their buffers and ports play no part."""
        config = design.config
        key = (
            config.log_batch, config.log_block, config.log_inp_width, config.log_wgt_width,
            config.log_acc_width, design.scales,
        )  # fmt: skip
        if key not in self._work:
            self._work[key] = self._divided(design)
        return self._work[key]

    def _divided(self, design: Design) -> dict[Shown, Work]:
        found: dict[Shown, Work] = {}
        forms = self._forms_with(design.scales)
        for assignment, (form, seconds) in zip(self._assignments, forms, strict=True):
            runs = vta_part(form.mod, design.config)
            owned = _owned(runs, list(assignment), design)
            computed = {name for run in runs for layer in run.layers for name in layer.products}
            for case in shown(assignment):
                name = case[0]
                found.setdefault(
                    case, Work(tuple(owned[name]), seconds.get(name), name in computed)
                )
        return found

    def _forms_with(self, scales: str) -> list[tuple[IntegerForm, dict[str, float | None]]]:
        if scales not in self._forms:
            lower = lowering(scales)
            forms = [integer_form(model, lower) for model in self._models]
            self._forms[scales] = [
                (form, processor_seconds(lower.analysis(form, self._host, lambda what: None)))
                for form in forms
            ]
        return self._forms[scales]


def _owned(
    runs: Sequence[VtaRun], names: Sequence[str], design: Design
) -> dict[str, list[Problem | None]]:
    """The problems of VTA's layers by the network's layer that they belong to."""
    owned: dict[str, list[Problem | None]] = {name: [] for name in names}
    waiting: list[Problem | None] = []
    owner: str | None = None
    pairs = (
        (run, *pair) for run in runs for pair in zip(run.segment.layers, run.layers, strict=True)
    )
    for run, layer, each in pairs:
        try:
            problem = problem_of(layer, run.segment, design.config)
        except Unsupported:
            problem = None
        own = [name for name in names if name in each.products]
        owner = own[-1] if own else owner
        waiting.append(problem)
        if owner is not None:
            owned[owner] += waiting
            waiting = []
    return owned
