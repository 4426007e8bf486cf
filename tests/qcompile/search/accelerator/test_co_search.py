"""Whole co-searches of a small network: what they find, keep, and go on with after a kill."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import small

import qcompile
from qcompile.compiler import analyze
from qcompile.errors import InvalidInput, Unsupported
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network
from qcompile.search.accelerator import Limits, co_search, trials
from qcompile.search.accelerator.choosing import best_of, best_unlabelled
from qcompile.targets import load_target

# Two designs: of 8 bits, and of weights and codes of 4.
SPACE = {
    "LOG_INP_WIDTH": [2, 3],
    "LOG_WGT_WIDTH": [2, 3],
    "LOG_INP_BUFF_SIZE": [11],
    "LOG_WGT_BUFF_SIZE": [14],
    "LOG_ACC_BUFF_SIZE": [12],
    "SCALES": ["power-of-two", "power-of-two-4"],
}
FEW = Limits(points=4, max_drop=1.0, refined=1)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    model, calibration = small.network(folder)
    return folder, model, calibration, search(model, calibration, folder / "out")


def search(model, calibration, folder, **others):
    choices = small.choices()
    told = {"space": SPACE, "limits": FEW, "folder": folder} | others
    return co_search(model, "xczu3eg", choices, small.sensitivities(choices), calibration, **told)


def test_finds_faster_designs(searched):
    found = searched[3]
    baseline, best = found.baseline, found.best
    assert baseline.design.config == small.board().config and baseline.status == "baseline"
    assert set(baseline.widths.values()) == {Widths(8, 8)}
    assert min(point.seconds for point in found.front) < baseline.seconds
    # Without labels and a budget: the least sensitivity that is not slower than the board as it is.
    assert best.seconds <= baseline.seconds
    assert best.sensitivity == min(
        p.sensitivity for p in found.points if p.seconds <= baseline.seconds
    )
    assert {point.accuracy for point in found.points} == {None}
    assert found.exact and not found.failures
    for point in found.front:
        assert not any(
            all(a <= b for a, b in zip(other.values, point.values, strict=True))
            for other in found.points
            if other.values != point.values
        )


def test_cycles_are_those_of_the_compiled_program(searched, tmp_path):
    folder, model, calibration, found = searched
    best = found.best
    quantized = quantize_network(model, calibration, QuantizeOptions(bits=best.widths))
    onnx.save(quantized.model, tmp_path / "quantized.onnx")
    target = load_target(str(folder / "out" / "best.toml"))
    assert target.config == best.design.config
    made = analyze(tmp_path / "quantized.onnx", target, batch=1, scales=best.design.scales)
    assert made.vta["simulated_cycles"] == best.simulated.cycles


def test_goes_on_where_it_was(searched, tmp_path, monkeypatch):
    folder, model, calibration, found = searched
    # Killed in the middle of the last line but two.
    lines = (folder / "out" / "points.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "points.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
    (tmp_path / "layers.jsonl").write_bytes((folder / "out" / "layers.jsonl").read_bytes())
    count = []

    def counted(*arguments):
        count.append(arguments)
        return simulated(*arguments)

    simulated = trials.simulated
    monkeypatch.setattr(trials, "simulated", counted)
    again = search(model, calibration, tmp_path)
    assert again.to_json() == found.to_json()
    assert len(count) == 2 and len(lines) > 3


def test_results_are_json(searched):
    told = json.loads(json.dumps(searched[3].to_json()))
    assert told["best"] in range(len(told["points"])) and told["points"][0]["status"] == "baseline"
    best = told["points"][told["best"]]
    assert best["layers"]["first"].keys() == {"w", "a"}
    assert 0 < best["area"]["share"] < 1 and best["ms"] > 0


def test_the_best_keeps_budget_and_accuracy(searched):
    points = searched[3].points
    fastest = min(point.seconds for point in points)
    found, told = best_unlabelled(points, Limits(budget_s=fastest / 2))
    assert found is None and "the fastest takes" in told
    found, told = best_unlabelled(points, Limits(budget_s=fastest))
    assert points[found].seconds == fastest and not told

    right = [replace(points[0], accuracy=0.9)]
    right += [replace(point, accuracy=0.895 - 0.01 * (k % 2)) for k, point in enumerate(points)]
    found, told = best_of(right, Limits(max_drop=0.01))
    assert right[found].seconds == min(p.seconds for p in right if p.accuracy >= 0.89)
    found, told = best_of([*right[1:], replace(right[0], accuracy=0.2)], Limits(max_drop=-0.1))
    assert found is None and "the best is 89.50%" in told


def test_designs_without_a_program_after_all_are_told(searched, monkeypatch):
    _, model, calibration, _ = searched
    plain = trials.simulated

    def refusing(model, design, board):
        if design.config.wgt_width == 4:
            raise Unsupported("no room")
        return plain(model, design, board)

    monkeypatch.setattr(trials, "simulated", refusing)
    again = search(model, calibration, None)
    assert again.failures and all("no room" in told for told in again.failures)
    assert all(point.design.config.wgt_width == 8 for point in again.points)


@pytest.mark.slow  # compiles a library for each point
def test_accuracy_is_that_of_simulated_programs(searched, tmp_path):
    _, model, calibration, _ = searched
    labelled = calibration | {"y": np.arange(len(calibration["x"])) % 5}
    found = search(model, calibration, tmp_path / "out", labelled=labelled)
    best = found.best
    assert best.accuracy is not None and best.seconds <= found.baseline.seconds
    quantized = quantize_network(model, calibration, QuantizeOptions(bits=best.widths))
    onnx.save(quantized.model, tmp_path / "quantized.onnx")
    target = str(tmp_path / "out" / "best.toml")
    qcompile.compile(
        tmp_path / "quantized.onnx", target, tmp_path / "board", scales=best.design.scales
    )
    (scores,) = qcompile.load(tmp_path / "board").run_batches({"x": labelled["x"]}).values()
    assert (scores.argmax(1) == labelled["y"]).mean() == best.accuracy


@pytest.mark.parametrize(
    ("labels", "told"), [(None, "no labels"), (np.arange(7), "same number of samples")]
)
def test_labels_are_looked_at_first(searched, labels, told):
    _, model, calibration, _ = searched
    labelled = calibration if labels is None else calibration | {"y": labels}
    with pytest.raises(InvalidInput, match=told):
        search(model, calibration, None, labelled=labelled)
