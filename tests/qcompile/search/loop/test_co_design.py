"""A search of widths and VTA's configuration, from files to files."""

import json

import numpy as np
import onnxruntime
import pytest

import qcompile
from qcompile.cli import main
from qcompile.errors import InvalidInput
from tests.qcompile.search.accelerator import small

SPACE = {
    "LOG_INP_WIDTH": [2, 3],
    "LOG_WGT_WIDTH": [2, 3],
    "LOG_INP_BUFF_SIZE": [11],
    "LOG_WGT_BUFF_SIZE": [14],
    "LOG_ACC_BUFF_SIZE": [12],
    "SCALES": ["power-of-two", "power-of-two-4"],
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The model and data with the float network's classes as labels."""
    folder = tmp_path_factory.mktemp("design")
    model, calibration = small.network(folder)
    session = onnxruntime.InferenceSession(str(model))
    x = calibration["x"]
    scores = [session.run(None, {"x": each[None]})[0][0] for each in x]
    np.savez(folder / "data.npz", x=x, y=np.argmax(scores, axis=1))
    return str(model), "vta-ultra96", folder / "data.npz"


@pytest.mark.slow
def test_the_best_design_compiles_and_computes_what_was_told(asked, tmp_path, monkeypatch):
    out = tmp_path / "found"
    made = qcompile.search_accelerator(*asked, out, bits=(8, 4), max_drop=50, space=SPACE)

    answer = json.loads((out / "pareto.json").read_text())
    best = answer["points"][answer["best"]]
    assert json.loads((out / "best" / "bits.json").read_text())["layers"] == best["layers"]
    words = answer["command"].split()
    monkeypatch.chdir(tmp_path)
    assert words[0] == "qcompile" and main(words[1:]) == 0
    data = np.load(asked[2])
    kept, again = (qcompile.load(folder) for folder in (out / "best" / "bundle", "build"))
    [scores] = kept.run_batches({"x": data["x"]}).values()
    np.testing.assert_array_equal(scores, *again.run_batches({"x": data["x"]}).values())
    assert (scores.argmax(axis=1) == data["y"]).mean() == best["accuracy"]
    assert made.found.best.seconds <= made.found.baseline.seconds


def test_a_design_is_for_one_board(asked, tmp_path):
    with pytest.raises(InvalidInput, match="--on vta-ultra96 would work"):
        qcompile.search_accelerator(asked[0], "host", asked[2], tmp_path / "out")
