"""Random small problems: designs with areas, and costs of layers that are whole numbers."""

import itertools

import numpy as np
from hypothesis import strategies as st

from qcompile.quantizer import Widths
from qcompile.search.accelerator.table import LayerTable, inputs_of

WIDTHS = [Widths(w, a) for w, a in itertools.product((2, 4, 8), (4, 8))]


class Problem:
    """areas: of the designs; true: their tables; least: tables nowhere above, some of them shared.

    What a design cannot run has infinitely many cycles.
    """

    def __init__(self, areas, true, least):
        self.areas, self.true, self.least = areas, true, least
        self.asked = set()

    def ask(self, design, layer, choice, column):
        self.asked.add(design)
        return self.true[design][layer].cycles[choice, column]


@st.composite
def problems(draw):
    choices = draw(st.lists(_choices(), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most, gap = draw(st.sampled_from([3, 50])), draw(st.sampled_from([0, 2, 30]))
    # Eighths: sums of these are exact, in any order.
    sensitivity = [rng.integers(0, most, len(each)) / 8 for each in choices]
    kinds = draw(st.integers(1, 3))
    least = [_tables(choices, sensitivity, rng, most) for _ in range(kinds)]
    areas, true, bounds = [], [], []
    for _ in range(draw(st.integers(1, 6))):
        bound = least[rng.integers(kinds)]
        cycles = [one.cycles + rng.integers(0, gap + 1, one.cycles.shape) for one in bound]
        cycles = [np.where(rng.random(each.shape) < 0.1, np.inf, each) for each in cycles]
        areas.append(float(rng.integers(1, 4)) / 4)
        true.append(
            [
                LayerTable(one.name, one.choices, each, one.sensitivity)
                for one, each in zip(bound, cycles, strict=True)
            ]
        )
        bounds.append(bound)
    return Problem(areas, true, bounds)


@st.composite
def _choices(draw):
    return tuple(draw(st.lists(st.sampled_from(WIDTHS), min_size=1, max_size=4, unique=True)))


def _tables(choices, sensitivity, rng, most):
    tables = []
    for k, own in enumerate(choices):
        columns = len(inputs_of(choices[k + 1])) if k + 1 < len(choices) else 1
        cycles = rng.integers(0, most, (len(own), columns)).astype(float)
        tables.append(LayerTable(f"layer{k}", own, cycles, sensitivity[k]))
    return tables
