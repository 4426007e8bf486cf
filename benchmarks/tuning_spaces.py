"""Spaces of four tasks, every candidate measured once; what benchmarks/tuning.py replays.

    python benchmarks/tuning_spaces.py

writes benchmarks/tuning_spaces.json: about 300 candidates of each task with their times as parts of
the untuned kernel's, all measured here.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from qcompile.measure.layers import convolution, layer_module, product
from qcompile.passes.kernel_work import LayerShape
from qcompile.passes.layers import Geometry
from qcompile.pipeline import lower_chosen_passes, task_passes
from qcompile.records import Database, canonical
from qcompile.schedules.space import VERSION, Decision, Space, frozen
from qcompile.targets import Target, host_target, load_processor
from qcompile.tuning.batch import Rounds
from qcompile.tuning.building import Builders
from qcompile.tuning.cores import share_cores
from qcompile.tuning.laboratory import Laboratory
from qcompile.tuning.ledger import Ledger
from qcompile.tuning.measuring import Measurer
from qcompile.tuning.tasks import Task, extract_tasks
from qcompile.tvm_errors import register_errors

SPACES = Path(__file__).with_name("tuning_spaces.json")
BOUND = 300  # candidates of a space, about
INT8 = (8, 8)
ROUNDS = Rounds(least=16, budget_s=0.4)


def layers() -> dict[str, tuple[LayerShape, str]]:
    """The layer and the kernel of each task."""
    depthwise = LayerShape(
        (1, 56, 56, 144), (144, 3, 3, 1), Geometry((1, 1, 1, 1), (1, 1), (1, 1), 144), *INT8
    )
    return {
        "int8 3x3, 28x28, 128 channels": (convolution(28, 128, 128, INT8), "int8"),
        "int8 1x1, 7x7, 960 to 160": (product(49, 960, 160, INT8), "int8"),
        "W1A1 3x3, 14x14, 256 channels": (convolution(14, 256, 256, (1, 1)), "bits"),
        "int8 depthwise 3x3, 56x56x144": (depthwise, "int8"),
    }


def thinned_task(name: str, target: Target) -> Task:
    """The task, its space thinned out to about BOUND candidates."""
    task = only_task(name, layer_module(*layers()[name]), target)
    return replace(task, space=thinned(task.space))


def measured_task(name: str, found: "Measurements") -> Task:
    """The task, its space that of the candidates that were measured."""
    task = only_task(name, layer_module(*layers()[name]), load_processor(found.target))
    candidates = [json.loads(key) for key in found.ratios]
    decisions = []
    for decision in task.space.decisions:
        seen = {frozen(candidate[decision.name]) for candidate in candidates}
        if not seen <= set(decision.choices) or decision.choices[0] not in seen:
            raise SystemExit(f"{name}: {decision.name} has changed; run tuning_spaces.py again")
        decisions.append(kept(decision, [k for k, c in enumerate(decision.choices) if c in seen]))
    return replace(task, space=Space(tuple(decisions)))


def kept(decision: Decision, places: Sequence[int]) -> Decision:
    """The decision with these of its choices."""
    choices, costs = decision.choices, decision.costs
    return replace(
        decision,
        choices=tuple(choices[place] for place in places),
        costs=tuple(costs[place] for place in places) if costs else (),
    )


def only_task(name: str, module: tvm.IRModule, target: Target) -> Task:
    """The task of a layer's module, under this name."""
    passes = [*lower_chosen_passes(target), *task_passes()]
    (task,) = extract_tasks(tvm.transform.Sequential(passes)(module), target)
    return replace(task, layers=(name,))


def thinned(space: Space) -> Space:
    """Every so many choices of the longest decision, the default among them."""
    longest = max(space.decisions, key=lambda decision: len(decision.choices))
    others = space.size // len(longest.choices)
    keep = max(2, min(len(longest.choices), BOUND // others))
    places = np.unique(np.linspace(0, len(longest.choices) - 1, keep).round().astype(int))
    return Space(tuple(kept(d, places) if d is longest else d for d in space.decisions))


def combinations(space: Space) -> list[dict[str, Any]]:
    """All candidates."""
    found: list[dict[str, Any]] = [{}]
    for decision in space.decisions:
        found = [{**each, decision.name: choice} for each in found for choice in decision.choices]
    return found


@dataclass(frozen=True)
class Measurements:
    """All candidates of a task by the JSON of their decisions: seconds / untuned seconds.

    target: by whose name this processor's kernels are made.
    """

    target: str
    default_s: float
    ratios: Mapping[str, float | None]

    @property
    def best(self) -> float:
        return min(ratio for ratio in self.ratios.values() if ratio is not None)


def measure() -> None:
    """Measure every candidate of every task and keep the times."""
    target = load_processor(str(host_target().llvm["mcpu"]))
    cores = share_cores(1)
    kept = {}
    with (
        Builders(target, len(cores.building), cores.building) as builders,
        Measurer(["local"], target, cores=cores.measuring) as measurer,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name in layers():
            task = thinned_task(name, target)
            ledger = Ledger([task], target, Database(folder, VERSION), modelled=False)
            laboratory = Laboratory(
                [task], target, builders, measurer, ledger,
                device="local", processor="here", trials=0, told=lambda task, outcomes: None,
            )  # fmt: skip
            candidates = combinations(task.space)
            for first in range(0, len(candidates), 16):
                laboratory.measure(0, candidates[first : first + 16], ROUNDS).result()
                print(f"{name}: {first} of {len(candidates)}", flush=True)
            known = ledger.all_known(0)
            ratios = {key: known[key].ratio for key in map(canonical, candidates)}
            default_s = laboratory.default_s[0]
            assert default_s is not None
            kept[name] = asdict(Measurements(target.name, default_s, ratios))
    SPACES.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")


def read() -> dict[str, Measurements]:
    """What was measured, by the names of the tasks."""
    return {name: Measurements(**fields) for name, fields in json.loads(SPACES.read_text()).items()}


if __name__ == "__main__":
    register_errors()
    measure()
