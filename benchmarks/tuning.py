"""How many trials the guided search needs, and how long a whole network takes to tune.

    python benchmarks/tuning.py                  replay searches on benchmarks/tuning_spaces.json
    python benchmarks/tuning.py --live MODEL     tune a network on this machine

A replay is a search as `qcompile tune` makes it, but its measurements come from that file: it
counts the trials until a candidate within 2 % of the space's best. Cold, the search knows nothing
but the analytic order of tiles; warm, it begins with what was measured of the three other tasks.
Random search draws candidates without drawing one twice.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results import Report, Table, add_options, finish
from tuning_spaces import Measurements, measured_task, read

from qcompile.records import canonical
from qcompile.schedules.space import frozen
from qcompile.targets import Target, load_processor
from qcompile.tuning.choices import choices_of, expected_score
from qcompile.tuning.cost_model import CostModel, Measured
from qcompile.tuning.features import features_of
from qcompile.tuning.search import Finished, SearchSettings, search
from qcompile.tuning.tasks import Task
from qcompile.tuning.tune import tune_network
from qcompile.tvm_errors import register_errors

NEAR = 1.02  # of the best
SEEDS = 20
BATCH = 4
LIVE_TRIALS = 400


class Replay:
    """A laboratory that knows all times; it counts the trials until one is near the best."""

    def __init__(self, task: Task, measurements: Measurements) -> None:
        self.task = task
        self.measurements = measurements
        self.seen: list[str] = []
        self.needed: int | None = None
        self.evaluate(0, [task.default])  # tuning measures the untuned kernel first of all

    def evaluate(self, task: int, decisions: Sequence[Mapping[str, Any]]) -> "Answer":
        if self.needed is not None:
            raise Finished
        ratios = [self.measurements.ratios[canonical(each)] for each in decisions]
        for each, ratio in zip(decisions, ratios, strict=True):
            key = canonical(each)
            if key in self.seen:
                continue
            self.seen.append(key)
            near = ratio is not None and ratio <= NEAR * self.measurements.best
            if near and self.needed is None:
                self.needed = len(self.seen)
        return Answer([r and r * self.measurements.default_s for r in ratios])


@dataclass(frozen=True)
class Answer:
    seconds: list[float | None]

    def done(self) -> bool:
        return True

    def result(self) -> list[float | None]:
        return self.seconds


def guided_trials(
    task: Task, target: Target, found: Measurements, seed: int, earlier: Sequence[Measured]
) -> int:
    replay = Replay(task, found)
    model = CostModel([task], target, earlier, seed)
    if replay.needed is None:
        model.update(0, [(0,) * len(task.space.decisions)], [found.default_s])
        search([task], [1], replay, target, SearchSettings(batch=BATCH, seed=seed), model)
    assert replay.needed is not None, f"{task.name}: {len(replay.seen)} of {task.space.size} seen"
    return replay.needed


def random_trials(found: Measurements, seed: int) -> int:
    ratios = np.array([np.inf if r is None else r for r in found.ratios.values()])
    order = np.random.default_rng(seed).permutation(len(ratios))
    return 1 + int(np.argmax(ratios[order] <= NEAR * found.best))


def measured_group(task: Task, target: Target, found: Measurements) -> Measured:
    """All candidates of a task, as another task's search may begin with."""
    group = Measured()
    for key, ratio in found.ratios.items():
        decisions = {name: frozen(value) for name, value in json.loads(key).items()}
        features = features_of(task.operator, task.problem, task.space, decisions, target)
        space = task.space.decisions
        group.add(features, expected_score(space, choices_of(space, decisions)), ratio)
    return group


def replay_table() -> tuple[Table, str]:
    """The trials of each search, medians over SEEDS seeds, and what the issue asks for."""
    spaces = read()
    tasks = {name: measured_task(name, found) for name, found in spaces.items()}
    groups = {
        name: measured_group(tasks[name], load_processor(found.target), found)
        for name, found in spaces.items()
    }
    rows, parts = [], []
    for name, found in spaces.items():
        target, task = load_processor(found.target), tasks[name]
        others = [group for other, group in groups.items() if other != name]
        cold = [guided_trials(task, target, found, seed, []) for seed in range(SEEDS)]
        warm = [guided_trials(task, target, found, seed, others) for seed in range(SEEDS)]
        drawn = [random_trials(found, seed) for seed in range(SEEDS)]
        near = sum(r is not None and r <= NEAR * found.best for r in found.ratios.values())
        medians = [statistics.median(trials) for trials in (drawn, cold, warm)]
        parts.append(medians[1] / medians[0])
        rows.append([name, len(found.ratios), near, 1 / found.best, *medians, parts[-1]])
    columns = ["task", "candidates", "within 2 %", "best, x default"]
    columns += ["random", "guided", "guided, warm", "guided / random"]
    table = Table("Trials until within 2 % of the best, medians of 20 seeds", columns, rows)
    return table, f"guided / random of the median task: {statistics.median(parts):.2f}"


def live_table(model: Path) -> tuple[Table, str]:
    """A network tuned on this machine, with an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        begin, load = time.monotonic(), os.getloadavg()[0]
        found = tune_network(model, load_processor("host"), Path(folder), trials=LIVE_TRIALS)
        taken = time.monotonic() - begin
    rows = [
        [t.name, t.calls, t.share, 1e6 * (t.default_s or 0), 1e6 * (t.best_s or 0), t.trials]
        for t in found.tasks
    ]
    table = Table(model.stem, ["task", "calls", "share", "us before", "us after", "trials"], rows)
    return table, (
        f"{found.measured} measurements in {taken:.0f} s (load of the minute before: {load:.1f} "
        f"on {os.cpu_count()} cores); kernels {1e3 * found.before_s:.3f} ms -> "
        f"{1e3 * found.after_s:.3f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--live", type=Path, metavar="MODEL", help="tune this ONNX file instead")
    add_options(parser)
    options = parser.parse_args()
    register_errors()
    table, remark = live_table(options.live) if options.live else replay_table()
    program = f"tuning --live {options.live.name}" if options.live else "tuning"
    finish(Report(program, [table], [remark]), options)


if __name__ == "__main__":
    main()
