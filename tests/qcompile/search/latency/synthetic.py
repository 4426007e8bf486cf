"""A device whose times are known: made of the layers' own, of hand-overs, and of surprises."""

from itertools import pairwise, product

import numpy as np

from qcompile.search.latency.choice import Choice
from qcompile.search.latency.measured import LayerSeconds, Measured
from qcompile.search.latency.model import LatencyModel
from qcompile.search.latency.neighbours import Neighbours
from qcompile.search.latency.probes import probes

NAMES = ("one", "two", "three", "four")
CHOICES = (
    Choice(8, 8, "conv2d_int8"),
    Choice(4, 8, "conv2d_int8"),
    Choice(4, 2, "conv2d_int8"),
    Choice(4, 2, "conv2d_bits"),
    Choice(2, 2, "conv2d_bits"),
)
BASE_S = 2e-6


class Device:
    """bits_factor: whole networks take that many times their bits kernels' seconds. cell_s: what
    hand-overs take more at most, with the choice of the maker."""

    def __init__(self, seed=0, names=NAMES, surprise_s=0.0, noise=0.0, neighbours=None, cell_s=0.0):
        self.rng = np.random.default_rng(seed)
        self.neighbours = neighbours or Neighbours(names, tuple(pairwise(names)))
        self.choices = dict.fromkeys(names, CHOICES)
        self.own = {key: self.rng.uniform(1e-5, 1e-4) for key in product(names, CHOICES)}
        forms = {(c.activations, c.kernel) for c in CHOICES}
        kernels = sorted({c.kernel for c in CHOICES})
        edges = self.neighbours.edges
        self.written, self.repacked = (
            {key: self.rng.uniform(0, 1e-5) for key in product(edges, kernels, sorted(forms))}
            for _ in range(2)
        )
        cells = product(edges, CHOICES, sorted(forms))
        rng = np.random.default_rng(seed + 1)
        self.cells = {key: cell_s * rng.uniform() for key in cells}
        self.surprise_s = surprise_s
        self.noise = noise

    def measure(self, assignment, bits_factor=1.0):
        per_layer = {}
        for layer, choice in assignment.items():
            own_s, prepare_s = self.own[layer, choice], 0.0
            differing = self.differing(assignment)
            own_s -= 5e-6 * bool(differing & set(self.neighbours.readers(layer)))
            prepare_s += 4e-5 * (layer in differing)
            for reader in set(self.neighbours.readers(layer)) - differing:
                form = assignment[reader].activations, assignment[reader].kernel
                own_s += self.written[(layer, reader), choice.kernel, form]
                own_s += self.cells[(layer, reader), choice, form]
                if choice.weights == 2 and assignment[reader].weights == 8:
                    own_s += self.surprise_s
            for maker in self.neighbours.makers(layer):
                key = (maker, layer), assignment[maker].kernel
                prepare_s += self.repacked[(*key, (choice.activations, choice.kernel))]
            factor = bits_factor if choice.kernel.endswith("bits") else 1.0
            factor *= 1 + self.noise * self.rng.standard_normal()
            per_layer[layer] = LayerSeconds(factor * own_s, factor * prepare_s)
        seconds = BASE_S + sum(each.seconds for each in per_layer.values())
        return Measured(dict(assignment), seconds, 2 * self.noise * seconds, per_layer)

    def differing(self, assignment):
        """The twins that read other codes than the other one."""
        bits = {name: choice.activations for name, choice in assignment.items()}
        return {n for a, b in self.neighbours.twins if bits[a] != bits[b] for n in (a, b)}

    def uniform(self, choice):
        return dict.fromkeys(self.neighbours.layers, choice)

    def random(self):
        return {n: each[self.rng.integers(len(each))] for n, each in self.choices.items()}

    def survey(self, exact=True, by_choice=False):
        found = [self.measure(self.uniform(choice)) for choice in CHOICES]
        mixed = probes(self.choices, self.neighbours, found, 0, by_choice)
        found += [self.measure(assignment) for assignment in mixed]
        return LatencyModel(
            "rpi4", "model:rpi4", exact, self.neighbours, self.choices, tuple(found)
        )
