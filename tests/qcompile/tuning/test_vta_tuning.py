"""VTA's layers tuned by simulated cycles: what is found, told, kept and refused."""

import itertools
import json

import numpy as np
import pytest
from small_models import product
from vta_segments import BOARD, chain, one_task

import qcompile
from qcompile.errors import InvalidInput
from qcompile.records import Case, Database
from qcompile.schedules.space import VERSION, Decision, Space
from qcompile.targets.vta.cycles import simulate
from qcompile.targets.vta.planner import plan_segment
from qcompile.targets.vta.planner.company import cycles_in
from qcompile.targets.vta.planner.decisions import tiling_of
from qcompile.targets.vta.planner.emit import plan_of
from qcompile.tuned import Sources, vta_tunings_of
from qcompile.tuning import vta_laboratory
from qcompile.tuning.cost_model import CostModel
from qcompile.tuning.vta_earlier import earlier_vta_groups, problem_from
from qcompile.tuning.vta_tasks import UNFIT, vta_tasks
from qcompile.tuning.vta_tune import tune_vta_tasks

SIZE = 8  # of the images of the badly begun task
WORST = {"rows": 1, "columns": 4, "outputs": 1, "inputs": 1, "order": "data", "threads": 1}
CHOICES = {
    "rows": (1, 2, 8),
    "columns": (4, 8),
    "outputs": (1, 4),
    "inputs": (1, 2),
    "order": ("data", "weights"),
    "threads": (1, 2),
}


def badly_begun():
    """A task whose default is the worst of a small space."""
    task = one_task(size=SIZE)
    decisions = [Decision(name, choices) for name, choices in CHOICES.items()]
    task.__dict__["space"] = Space(tuple(decisions))
    assert task.default == WORST
    return task


def lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_finds_better_decisions_than_a_bad_default(tmp_path, whole_population):
    task = badly_begun()
    found = tune_vta_tasks([task], BOARD, tmp_path, trials=24)
    best, default = task.cycles(found.tasks[0].best), task.cycles(WORST)
    assert found.after_s == best / BOARD.clock_hz and found.before_s == default / BOARD.clock_hz
    every = [dict(zip(CHOICES, each, strict=True)) for each in itertools.product(*CHOICES.values())]
    fastest = min(task.cycles(each) for each in every if task.estimate.fits(tiling_of(each)))
    assert best <= 1.01 * fastest < default / 2
    uops = SIZE * SIZE * 4 * 2 * 9  # places, blocks of outputs and of inputs, taps
    assert found.tasks[0].of_limit == pytest.approx(uops / best)
    assert 0.5 < found.tasks[0].of_limit < 1


def test_records_are_of_the_simulator_and_serve_the_planner(tmp_path):
    task = badly_begun()
    found = tune_vta_tasks([task], BOARD, tmp_path, trials=8)
    for record in Database(tmp_path, VERSION).load().records:
        assert record.modelled and record.device == "sim"
        assert record.target.mcpu == BOARD.config.name and record.target.vector_bytes == 8
        assert problem_from(record.operator, json.loads(json.dumps(record.problem))) == task.problem
        assert record.estimate_s == task.cycles(record.decisions) / BOARD.clock_hz
    (layer,) = task.segment.layers
    best = dict(found.tasks[0].best)
    program = plan_segment(task.segment, BOARD.config, BOARD.port_bytes, {layer.name: best})
    cycles = simulate(BOARD.config, BOARD.port_bytes, program.instructions).cycles
    assert cycles == pytest.approx(found.after_s * BOARD.clock_hz)


def test_the_same_seed_tries_the_same_and_a_call_goes_on(tmp_path):
    def tried(folder, seed, trials):
        found = tune_vta_tasks([badly_begun()], BOARD, folder, trials=trials, seed=seed)
        return found, [r["decisions"] for r in lines(folder) if not r["thorough"]]

    one, first = tried(tmp_path / "one", 3, 8)
    other, second = tried(tmp_path / "other", 3, 8)
    assert first == second and one.after_s == other.after_s
    assert first != tried(tmp_path / "third", 4, 8)[1]
    again, more = tried(tmp_path / "one", 3, 4)
    assert (again.known, again.measured) == (8, 4)
    assert more[: len(first)] == first
    assert len({json.dumps(each) for each in more}) == len(more) == 1 + 8 + 4


def test_tiles_that_do_not_fit_fail_and_are_not_expected(tmp_path):
    task = one_task(size=28, channels=64, outputs=256)
    space = task.space
    large = {"rows": 28, "columns": 28, "outputs": 16, "threads": 2}
    numbers = tuple(
        decision.choices.index(large.get(decision.name, decision.choices[0]))
        for decision in space.decisions
    )
    assert task.expected(numbers) == UNFIT and task.expected((0,) * len(numbers)) == 0
    decisions = tuple(
        Decision(d.name, tuple(dict.fromkeys((d.choices[0], large.get(d.name, d.choices[0])))))
        for d in space.decisions
    )
    task.__dict__["space"] = Space(decisions)
    found = tune_vta_tasks([task], BOARD, tmp_path, trials=16)
    assert found.tasks[0].failed > 0 and {f.kind for _, f in found.failures} == {"build"}
    assert any("bytes of ACC" in failure.message for _, failure in found.failures)


def test_wrong_results_are_failures_and_win_nothing(tmp_path, monkeypatch):
    runs = []

    def output_of(program, task):
        runs.append(program)
        return np.array([len(runs)], np.uint8)

    monkeypatch.setattr(vta_laboratory, "output_of", output_of)
    found = tune_vta_tasks([badly_begun()], BOARD, tmp_path, trials=8)
    assert found.tasks[0].best is None and found.tasks[0].failed == 8
    assert {failure.kind for _, failure in found.failures} == {"wrong result"}


def test_large_layers_are_checked_at_the_end(tmp_path, monkeypatch):
    checked = []
    original = vta_laboratory.output_of
    monkeypatch.setattr(vta_laboratory, "CHECKED_UOPS", 100)
    monkeypatch.setattr(
        vta_laboratory, "output_of", lambda *each: checked.append(each) or original(*each)
    )
    found = tune_vta_tasks([badly_begun()], BOARD, tmp_path, trials=8)
    assert len(checked) == 1 + sum(r["thorough"] for r in lines(tmp_path)) == 4
    assert found.tasks[0].best is not None and not found.failures


def test_layers_of_one_problem_are_one_task_and_their_times_add_up():
    segment = chain()
    tasks = vta_tasks([segment], BOARD)
    assert [task.layers for task in tasks] == [("first",), ("second", "third"), ("pool",)]
    assert [task.operator for task in tasks] == ["vta_sums", "vta_sums", "vta_max_pool"]
    whole = simulate(
        BOARD.config,
        BOARD.port_bytes,
        plan_segment(segment, BOARD.config, BOARD.port_bytes).instructions,
    ).cycles
    total = sum(len(task.layers) * task.cycles(task.default) for task in tasks)
    # Neighbours of neighbours make a small difference.
    assert total == pytest.approx(whole, rel=0.02)


def test_a_layers_time_is_what_the_program_takes_longer():
    task = vta_tasks([chain()], BOARD)[0]
    (company,) = task.companies
    assert company.before is None and company.after is not None
    slow = task.default | {"threads": 1, "outputs": 1}
    found = cycles_in(company, plan_of(task.problem, BOARD.config, tiling_of(slow)), 8)
    default = task.default_cycles[0]
    assert (
        task.cycles(slow)
        == found.whole - default.whole + default.own
        > task.cycles({**task.default})
    )


def test_the_cost_model_begins_with_other_layers(tmp_path):
    task = badly_begun()
    tune_vta_tasks([task], BOARD, tmp_path, trials=8)
    records = Database(tmp_path, VERSION).load().records
    assert earlier_vta_groups(records, [BOARD], [task.workload]) == []
    (group,) = earlier_vta_groups(records, [BOARD], [])
    assert len(group.seconds) == len(records)
    tasks = vta_tasks([chain()], BOARD)
    model = CostModel(tasks, BOARD, [group])
    scores = [model.predict(number, [(0,) * 6]) for number in range(len(tasks))]
    assert model.trained and all(np.isfinite(score).all() for score in scores)


def test_decisions_of_records_reach_the_layers_by_name(tmp_path):
    segment, sources = chain(), Sources.read(None)
    assert {t.case for t in vta_tunings_of([segment], BOARD, sources)} == {Case.NO_RECORD}
    tasks = vta_tasks([segment], BOARD)
    task = tasks[1]
    slow = task.default | {"rows": 1, "columns": 1, "threads": 1}
    task.__dict__["space"] = Space(
        tuple(
            Decision(d.name, tuple(dict.fromkeys((slow[d.name], task.default[d.name]))))
            for d in task.space.decisions
        )
    )
    tune_vta_tasks([task], BOARD, tmp_path / "records", trials=8)
    tunings = vta_tunings_of([segment], BOARD, Sources.read(tmp_path / "records"))
    by_layer = {tuning.layer: tuning for tuning in tunings}
    assert by_layer.keys() == {"first", "second", "third", "pool"}
    assert by_layer["first"].case == Case.NO_RECORD
    assert by_layer["second"].modelled and by_layer["second"].seconds == by_layer["third"].seconds


@pytest.mark.parametrize(
    ("target", "devices", "message"),
    [
        ("vta-pynq", ["local"], "local: vta-pynq is tuned by simulated cycles: --device sim works"),
        ("vta-pynq", ["sim", "ssh://pi@one"], "ssh://pi@one: vta-pynq is tuned by simulated"),
        ("vta-pynq", ["sim", "sim"], "sim is given 2 times"),
        ("x86-64-v3", ["sim"], "sim: simulates VTA, and x86-64-v3 is a processor"),
    ],
)
def test_refuses_devices_that_do_not_fit_the_target(tmp_path, target, devices, message):
    with pytest.raises(InvalidInput, match=message):
        qcompile.tune(product(tmp_path), target, tmp_path / "records", devices=devices)
