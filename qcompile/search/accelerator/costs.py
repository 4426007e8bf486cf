"""Costs of a network's layers on a design: least ones, and those of the compiler's planner."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import inf

import numpy as np

from qcompile.quantizer import Widths
from qcompile.search.accelerator.bounds import least_cycles
from qcompile.search.accelerator.cover import Shown
from qcompile.search.accelerator.cycles import LayerCycles
from qcompile.search.accelerator.design import Design
from qcompile.search.accelerator.problems import NetworkWork, Work
from qcompile.search.accelerator.table import LayerTable, inputs_of
from qcompile.targets.vta.planner.problem import Problem

Sensitivities = Mapping[str, Mapping[Widths, float]]
Cycles = Callable[[Problem], float | None]


class NetworkCosts:
    """Tables of a network for designs; processor's times count as cycles of VTA's clock."""

    def __init__(
        self,
        work: NetworkWork,
        choices: Mapping[str, Sequence[Widths]],
        sensitivities: Sensitivities,
        clock_hz: float,
        cycles: LayerCycles,
    ) -> None:
        self._work, self._choices, self._clock_hz = work, choices, clock_hz
        self._sensitivities, self._cycles = sensitivities, cycles
        self._least: dict[object, list[LayerTable]] = {}

    def least(self, design: Design) -> list[LayerTable]:
        """Costs that no tiling and no buffers go below."""
        work = self._work.of(design)
        key = (id(work), design.port_bytes)
        if key not in self._least:
            known = lru_cache(maxsize=None)(
                lambda one: least_cycles(one, design.config, design.port_bytes)
            )
            self._least[key] = self._tables(work, known)
        return self._least[key]

    def planned(self, design: Design, layer: int, choice: int, column: int) -> float:
        """Cycles of the planner's own choice for one layer alone."""
        name = list(self._choices)[layer]
        follower = self._follower(layer)
        after = None if follower is None else inputs_of(self._choices[follower])[column]
        work = self._work.of(design)[name, self._choices[name][choice], after]
        return self._of(
            work, lambda one: self._cycles(one, design.config, design.port_bytes), least=False
        )

    def _follower(self, layer: int) -> str | None:
        names = list(self._choices)
        return names[layer + 1] if layer + 1 < len(names) else None

    def _tables(self, work: Mapping[Shown, Work], cycles: Cycles) -> list[LayerTable]:
        tables = []
        for layer, name in enumerate(self._choices):
            choices, follower = tuple(self._choices[name]), self._follower(layer)
            after = inputs_of(self._choices[follower]) if follower is not None else (None,)
            found = [
                [self._of(work[name, choice, width], cycles, least=True) for width in after]
                for choice in choices
            ]
            sensitivity = [self._sensitivities[name][choice] for choice in choices]
            tables.append(LayerTable(name, choices, np.array(found), np.array(sensitivity)))
        return tables

    def _of(self, work: Work, cycles: Cycles, *, least: bool) -> float:
        """A layer's cycles: VTA's, or the processor's where VTA has no program of it."""
        host = inf if work.processor_s is None else work.processor_s * self._clock_hz
        known = [cycles(problem) if problem is not None else None for problem in work.problems]
        own = sum(each for each in known if each is not None)
        if not work.on_vta:
            return host + own
        if None in known:
            return host
        # Buffers may be too small for a program: then it is the processor's, too.
        return min(own, host) if least else own
