"""Inputs whose statistics inside a network are those of its training data.

Cai et al. 2020, ZeroQ: Adam moves noise until mean and standard deviation of each channel in front
of every BatchNormalization are near those that the node remembers. Inputs are offset + scale * u,
u of mean 0 and deviation 1; the first BatchNormalization tells offset and scale where it can,
because networks do not all read inputs of deviation 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcompile.commands.progress import Progress, silent
from qcompile.quantizer.backward.adam import Adam
from qcompile.quantizer.distillation.graph import StatisticsGraph
from qcompile.quantizer.distillation.inputs import NoiseInput, noise_inputs
from qcompile.quantizer.distillation.noise import noise
from qcompile.quantizer.distillation.statistics import Statistics
from qcompile.quantizer.grid import Array
from qcompile.quantizer.network import Network

SAMPLES, STEPS = 64, 100
RATE = 0.2  # of Adam at the start, in units of u; it falls to 0 along a cosine


@dataclass(frozen=True)
class Distilled:
    """`inputs`: by name, (samples, ...); the loss of the statistics before and after."""

    inputs: dict[str, Array]
    noise_loss: float
    loss: float


def distil(
    network: Network,
    *,
    samples: int = SAMPLES,
    steps: int = STEPS,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = silent,
) -> Distilled:
    """Inputs for a network that still has its BatchNormalization nodes. Raises Unsupported."""
    graph = StatisticsGraph(network)
    inputs = noise_inputs(network, graph, shapes)
    rng, batches = np.random.default_rng(seed), -(-samples // inputs[0].batch)
    runs, losses = [], []
    for k in range(batches):
        start = [noise(each.shape, rng) for each in inputs]
        first, _ = _loss(graph, inputs, start)
        adam = Adam(dict(enumerate(start)), dict.fromkeys(range(len(start)), RATE))
        for step in range(steps):
            progress("distilling calibration data", k * steps + step, batches * steps)
            _, gradients = _loss(graph, inputs, list(adam.values.values()))
            adam.step(dict(enumerate(gradients)), (1 + np.cos(np.pi * step / steps)) / 2)
        made = list(adam.values.values())
        last, _ = _loss(graph, inputs, made)
        losses.append((first, last))
        runs.append([each.scaled(u) for each, u in zip(inputs, made, strict=True)])
    before, after = np.mean(losses, axis=0)
    names = [each.name for each in inputs]
    joined = {n: np.concatenate(a) for n, a in zip(names, zip(*runs, strict=True), strict=True)}
    return Distilled(joined, float(before), float(after))


def _loss(
    graph: StatisticsGraph, inputs: Sequence[NoiseInput], values: Sequence[Array]
) -> tuple[float, list[Array]]:
    """The loss of the statistics, and the gradients of that and the inputs' own by the u."""
    given = {each.name: each.scaled(u) for each, u in zip(inputs, values, strict=True)}
    loss, by_name = graph.loss(given)
    gradients = []
    for each, u in zip(inputs, values, strict=True):
        channels = np.ones(u.shape[1], "float32")
        _, own = Statistics(each.name, 0 * channels, channels).loss(u)
        gradients.append(own + np.float32(each.scale) * by_name.get(each.name, np.float32(0)))
    return loss, gradients
