"""A network tuned for a board by simulated cycles, then compiled with what was found."""

import json

import numpy as np
from vta_onnx import through_the_processor

import qcompile
from qcompile.cli import main


def test_a_network_is_tuned_and_compiled_with_it(tmp_path, capfd):
    model, records = through_the_processor(tmp_path), tmp_path / "records"
    words = ["tune", str(model), "--target", "vta-pynq", "--device", "sim", "--trials", "10"]
    answer = tmp_path / "answer.json"
    assert main([*words, "--records", str(records), "--json", str(answer)]) == 0
    printed = capfd.readouterr().out
    assert "arithmetic limit of VTA's GEMM unit, products a second: VTA 25.6 G" in printed
    assert "trials: 10 measured now" in printed and "--target vta-pynq --records" in printed
    found = json.loads(answer.read_text())
    for name, options in {"default": {}, "tuned": {"records": records}}.items():
        qcompile.compile(model, "vta-pynq", tmp_path / name, **options)
    report = json.loads((tmp_path / "tuned" / "report.json").read_text())
    kernels = {each["layer"]: each for each in report["kernels"]}
    for task in found["tasks"]:
        kernel = kernels[task["name"]]
        assert kernel["operator"].startswith("vta_") and kernel["decisions"] == task["best"]
        measured = "tuned" if task["best"] else "default: measured fastest"
        assert kernel["case"] in (measured, "default: no record")
    assert any(kernel["times"] == "modelled" for kernel in kernels.values())
    cycles = {
        name: json.loads((tmp_path / name / "report.json").read_text())["vta"]["simulated_cycles"]
        for name in ("default", "tuned")
    }
    assert cycles["tuned"] <= cycles["default"]
    x = np.random.default_rng(0).uniform(-2, 2, (4, 8, 6, 6)).astype("float32")
    default, tuned = (
        qcompile.load(tmp_path / name).run_batches({"x": x}) for name in ("default", "tuned")
    )
    for output, values in default.items():
        np.testing.assert_array_equal(tuned[output], values)
