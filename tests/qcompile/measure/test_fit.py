"""The fit finds the costs that made the times."""

import dataclasses

import numpy as np
import pytest

from qcompile.measure.fit import Sample, fit
from qcompile.measure.layers import grid
from qcompile.passes.kernel_costs import estimates_of, parts_of, possible_kernels
from qcompile.targets import load_target
from qcompile.targets.costs import KERNELS, Costs, KernelCost

TARGET = load_target("znver4")


def true_costs(seed: int) -> Costs:
    rng = np.random.default_rng(seed)

    def drawn(**scales: float) -> dict[str, float]:
        return {name: scale * rng.uniform(0.5, 2) for name, scale in scales.items()}

    kernels = {
        name: KernelCost(
            **drawn(
                step_s=3e-10,
                narrow_step_s=2e-10 if name == "dense_bits" else 0,
                load_s=1e-10,
                tile_s=3e-9,
                sum_s=0 if name.endswith("int8") else 2e-10,
                output_s=1e-9,
                near_byte_s=5e-12,
                far_byte_s=1e-11,
                call_s=5e-8,
            )
        )
        for name in KERNELS
    }
    return Costs(kernels, **drawn(read_s=2e-9, pack_s=1e-9, copy_s=1e-11), source="made up")


def samples_of(costs: Costs, noise: float, rng: np.random.Generator) -> list[Sample]:
    """Times by `costs`, and nearly so."""
    samples = []
    for layer in grid():
        for work in (work_of(layer, TARGET) for work_of in possible_kernels(layer)):
            parts = parts_of(work, costs)
            factors = 1 + noise * rng.uniform(-1, 1, 2)
            packing = parts.pop("packing")
            samples.append(Sample(layer, work, False, sum(parts.values()) * factors[0]))
            if packing:
                samples.append(Sample(layer, work, True, packing * factors[1]))
    return samples


@pytest.mark.parametrize("seed", range(3))
def test_recovers_the_costs_of_exact_times(seed):
    costs = true_costs(seed)
    found = fit(samples_of(costs, 0.0, np.random.default_rng(seed)), "fitted")
    assert found.source == "fitted"
    for name in ("read_s", "pack_s", "copy_s"):
        assert getattr(found, name) == pytest.approx(getattr(costs, name), rel=1e-6)
    # Only what the counts tell apart: the steps, and the predictions below.
    for kernel in KERNELS:
        step = costs.kernels[kernel].step_s
        assert found.kernels[kernel].step_s == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_predicts_times_with_noise(seed):
    costs = true_costs(seed)
    found = fit(samples_of(costs, 0.05, np.random.default_rng(seed)), "fitted")
    assert all(
        value >= 0 for cost in found.kernels.values() for value in dataclasses.asdict(cost).values()
    )
    for layer in grid():
        true = {e.kernel: e.predicted_us for e in estimates_of(layer, TARGET, costs)}
        for estimate in estimates_of(layer, TARGET, found):
            if estimate.reason:
                continue
            # Noise of 5 % on each side; a fit averages it.
            assert estimate.predicted_us == pytest.approx(true[estimate.kernel], rel=0.1)
