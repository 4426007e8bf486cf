"""Whole searches of a small network on this machine."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompile
from qcompile.cli import main
from qcompile.errors import DeviceLost, FineTuningFailed, InvalidInput, OutputError
from qcompile.search.latency import LatencyLaboratory
from qcompile.search.loop import workshop
from qcompile.search.loop.searching import expect_reached

LAYERS = ["first", "middle", "last"]
SAMPLES = 200


def float_network():
    """Two convolutions, a mean and a classifier: 6x6 images of 3 channels to 4 classes."""
    rng = np.random.default_rng(5)

    def weights(name, *shape):
        return numpy_helper.from_array(rng.normal(0, 0.4, shape).astype("float32"), name)

    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "middle", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2"], ["y"], "last"),
    ]
    constants = [weights("w0", 8, 3, 3, 3), weights("w1", 16, 8, 3, 3), weights("w2", 16, 4)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3, 6, 6]), ("y", ["N", 4]))
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The model, its data with the float network's classes as labels, and a finished search."""
    folder = tmp_path_factory.mktemp("search")
    model = float_network()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    x = np.random.default_rng(6).normal(0, 1, (SAMPLES, 3, 6, 6)).astype("float32")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    labels = session.run(None, {"x": x})[0].argmax(axis=1)
    np.savez(folder / "data.npz", x=x, y=labels)
    given = [str(folder / "model.onnx"), "host", folder / "data.npz", folder / "found"]
    qcompile.search_bits(*given, bits=(8, 2), max_drop=99)
    return given


@pytest.fixture
def answer(asked):
    return json.loads((asked[3] / "pareto.json").read_text())


def test_every_point_is_measured_and_told(answer):
    points = {point["name"]: point for point in answer["points"]}
    assert {"float32", "w8a8", "w8a2", "w2a8", "w2a2"} <= set(points)
    assert answer["float_accuracy"] == 1.0 and answer["samples"] == SAMPLES
    assert answer["budgets"] == {"ms": None, "bytes": None, "max_drop": 99}
    for point in points.values():
        assert point["devices"]["host"]["status"] == "measured"
        assert point["devices"]["host"]["measured_ms"] > 0
    assert points["w2a2"]["bits"]["middle"] == {"w": 2, "a": 2}
    assert points["w2a2"]["bits"]["first"] == {"w": 8, "a": 8}
    weights = 8 * 27 + 16 * 72 // 4 + 16 * 4
    assert points["w2a2"]["weight_bytes"] == weights
    assert points["w2a2"]["bops"] == 36 * (8 * 27 * 64 + 16 * 72 * 4) + 16 * 4 * 64


def test_nothing_beats_the_front(answer):
    results = {point["name"]: point["devices"]["host"] for point in answer["points"]}
    for name in answer["front"]["host"]:
        one = results[name]
        for other in results.values():
            faster = other["measured_ms"] < one["measured_ms"]
            better = other["accuracy"] > one["accuracy"]
            assert not (faster and other["accuracy"] >= one["accuracy"])
            assert not (better and other["measured_ms"] <= one["measured_ms"])


def test_the_best_is_kept_whole(asked, answer):
    best = asked[3] / "best"
    name = answer["best"]["host"]
    bits = next(point["bits"] for point in answer["points"] if point["name"] == name)
    assert json.loads((best / "bits.json").read_text()) == {"layers": bits}
    data = np.load(asked[2])
    outputs = qcompile.load(best / "bundle").run_batches({"x": data["x"]})["y"]
    accuracy = float((outputs.argmax(axis=1) == data["y"]).mean())
    point = next(point for point in answer["points"] if point["name"] == name)
    assert accuracy == point["devices"]["host"]["accuracy"]
    assert (best / "model.onnx").is_file() and "Best: " in (asked[3] / "report.md").read_text()


def test_a_search_goes_on_without_doing_anything_twice(asked, answer, monkeypatch):
    def again(*args, **keywords):
        raise AssertionError("quantized again")

    monkeypatch.setattr(workshop, "quantize_network", again)
    found = qcompile.search_bits(*asked, bits=(8, 2), max_drop=99)
    assert qcompile.search.loop.results.to_json(found)["points"] == answer["points"]


def test_a_device_that_is_lost_loses_nothing(asked, answer, monkeypatch):
    """What was measured before it disappeared is there when the search goes on."""
    times = asked[3] / "work" / "times" / "host"
    held = (times / "w2a2.json").read_text()
    (times / "w2a2.json").unlink()

    def lost(*args):
        raise DeviceLost("host: does not answer any more")

    monkeypatch.setattr(LatencyLaboratory, "measure", lost)
    with pytest.raises(DeviceLost, match="does not answer"):
        qcompile.search_bits(*asked, bits=(8, 2), max_drop=99)
    monkeypatch.undo()
    assert sorted(p["name"] for p in answer["points"] if p["bits"]) == sorted(
        [*(p.stem for p in times.iterdir() if p.stem != "float32"), "w2a2"]
    )
    (times / "w2a2.json").write_text(held)


def test_the_command_that_makes_a_point_again_makes_it(asked, answer, tmp_path, monkeypatch):
    name = answer["best"]["host"]
    point = next(point for point in answer["points"] if point["name"] == name)
    words = point["reproduce"]["host"][0].split()
    monkeypatch.chdir(tmp_path)
    assert words[0] == "qcompile" and main(words[1:]) == 0
    made = qcompile.load(tmp_path / f"build-{name}")
    kept = qcompile.load(asked[3] / "best" / "bundle")
    x = np.load(asked[2])["x"][:20]
    assert np.array_equal(made.run_batches({"x": x})["y"], kept.run_batches({"x": x})["y"])


def test_budgets_below_the_possible_end_with_code_3(asked, capfd):
    model, place, data, folder = map(str, asked)
    words = ["search", model, "--on", place, "--data", data, "-o", folder, "--bits", "8,2"]
    assert main([*words, "--budget-ms", "0.0000001"]) == 3
    assert "no widths keep 1e-07 ms; the nearest" in capfd.readouterr().err
    assert main([*words, "--budget-kib", "0.1"]) == 3
    assert "no widths keep 0.1 KiB" in capfd.readouterr().err


def test_accuracy_out_of_reach_is_said_with_the_best(asked):
    found = qcompile.search_bits(*asked, bits=(8, 2), max_drop=99)
    assert found.devices[0].best is not None
    expect_reached(found)


def test_a_trained_network_is_one_more_point(asked, answer, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes((asked[3] / "work" / "models" / "w8a8.onnx").read_bytes())
    script = tmp_path / "train.py"
    script.write_text(
        "import json, shutil, sys\n"
        "assert json.load(open(sys.argv[1]))['layers']['first'] == {'w': 8, 'a': 8}\n"
        f"shutil.copy({str(other)!r}, sys.argv[2])\n"
    )
    hook = f"{sys.executable} {script}"
    found = qcompile.search_bits(*asked, bits=(8, 2), max_drop=99, fine_tune=hook)
    tuned = [point for point in found.points if point.kind == "fine-tuned"]
    assert tuned and all(point.measured("host") for point in tuned)
    with pytest.raises(FineTuningFailed, match="ended with code 3"):
        failing = f"{sys.executable} -c raise(SystemExit(3))"
        (asked[3] / "work" / "models" / f"{tuned[0].name}.onnx").unlink()
        qcompile.search_bits(*asked, bits=(8, 2), max_drop=99, fine_tune=failing)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: {"x": x}, "holds no labels"),
        (lambda x, y: {"x": x, "y": y[:-1]}, "same number of samples"),
        (lambda x, y: {"x": x[:, :2], "y": y}, "takes shape"),
        (lambda x, y: {"x": np.where(x > 2, np.nan, x), "y": y}, "no finite numbers"),
    ],
)
def test_data_that_do_not_fit_are_refused(asked, tmp_path, change, says):
    data = np.load(asked[2])
    np.savez(tmp_path / "other.npz", **change(data["x"], data["y"]))
    with pytest.raises(InvalidInput, match=says):
        qcompile.search_bits(asked[0], "host", tmp_path / "other.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_search_is_left_alone(asked, tmp_path):
    with pytest.raises(OutputError, match="holds a search that was given other values of bits"):
        qcompile.search_bits(*asked, bits=(8, 4))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        qcompile.search_bits(*asked[:3], tmp_path)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("host=sim", "is a processor"),
        ("vta-pynq=local", "vta-pynq=sim would work"),
        ("model:rpi4=local", "rpi4=model:rpi4 would work"),
    ],
)
def test_places_that_do_not_go_together_are_refused(asked, tmp_path, place, says):
    with pytest.raises(InvalidInput, match=says):
        qcompile.search_bits(asked[0], place, asked[2], tmp_path / "out")
