"""Simulated cycles: they add up, are the same every time, and are never called measured."""

import json
import sys
from dataclasses import replace

import pytest
from vta_modules import segment

from qcompile.cli import main
from qcompile.commands.sim_bench import sim_bench
from qcompile.errors import DeviceError
from qcompile.targets.vta.cycles import simulate
from qcompile.targets.vta.instructions import Queue
from qcompile.vta.segment import SegmentLayer
from qcompile.vta.timing import time_segment


def two_layers():
    """The segment as if its instructions from the first ALU on were another layer."""
    return replace(segment(), layers=(SegmentLayer("a", 0, 4), SegmentLayer("b", 5, 9)))


def test_layers_add_up_to_the_program():
    found = time_segment(two_layers())
    program = two_layers()
    whole = simulate(program.config, program.port_bytes, program.decoded())
    assert found.cycles == whole.cycles == sum(layer.cycles for layer in found.layers)
    for layer in found.layers:
        assert layer.cycles == layer.gemm + layer.alu + layer.compute_load + layer.waiting
        assert layer.waiting >= 0
    first, second = found.layers
    # A GEMM or ALU with one iteration takes 1 + 9 cycles of the 64-bit design.
    assert (first.gemm, first.alu, second.gemm, second.alu) == (20, 0, 0, 30)
    assert second.store > 0 == first.store
    assert first.utilisation == first.gemm / first.cycles


def test_tells_cycles_and_milliseconds(vta_bundle, capfd):
    assert main(["bench", str(vta_bundle), "--device", "sim", "--per-layer"]) == 0
    told = capfd.readouterr().out
    cycles = time_segment(segment()).cycles
    assert f"simulated: {cycles} cycles, {cycles / 1e5:.3f} ms at 100 MHz" in told
    assert "not a measurement of any board" in told
    assert "not included: the processor's part" in told


def test_writes_the_same_json_every_time(vta_bundle, tmp_path):
    answers = []
    for name in ("first", "second"):
        file = tmp_path / name
        assert main(["bench", str(vta_bundle), "--device", "sim", "--json", str(file)]) == 0
        answers.append(json.loads(file.read_text()))
    assert answers[0] == answers[1]
    found = answers[0]
    assert found["measured"] is False
    assert found["cycles"] == sum(part["cycles"] for part in found["segments"])
    assert found["simulated_ms"] == pytest.approx(1e3 * found["cycles"] / found["clock_hz"])
    (part,) = found["segments"]
    assert part["cycles"] == sum(layer["cycles"] for layer in part["layers"])


@pytest.mark.parametrize(
    "options", [["--threads", "2"], ["--repeat", "3"], ["--against", "litert=x.tflite"]]
)
def test_refuses_options_that_change_nothing(vta_bundle, options, capfd):
    assert main(["bench", str(vta_bundle), "--device", "sim", *options]) == 1
    assert f"{options[0]}: sim simulates one inference at a time" in capfd.readouterr().err


def test_says_which_device_a_measurement_needs(vta_bundle, capfd):
    assert main(["bench", str(vta_bundle)]) == 1
    assert "use --device sim" in capfd.readouterr().err


def test_models_of_processors_refuse_boards(vta_bundle, capfd):
    assert main(["bench", str(vta_bundle), "--device", "model:armv7-a9"]) == 1
    assert "needs VTA: --device sim" in capfd.readouterr().err


def test_refuses_bundles_for_processors(tmp_path):
    from export_for_cpu import cpu_bundle

    with pytest.raises(DeviceError, match="simulates VTA"):
        sim_bench(cpu_bundle(tmp_path / "cpu"))


def test_draws_the_queues(vta_bundle, tmp_path, monkeypatch, capfd):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", str(vta_bundle), "--device", "sim", "--plots"]) == 0
    picture = tmp_path / "queues_00_dense_one.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in capfd.readouterr().out


def test_plots_need_matplotlib(vta_bundle, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", str(vta_bundle), "--device", "sim", "--plots"]) == 1
    assert "pip install 'qcompile[plots]'" in capfd.readouterr().err


def test_every_queue_has_work():
    """The hand-written program uses all three modules, so that the tests above mean something."""
    spans = time_segment(segment()).timeline.spans
    assert {span.queue for span in spans} == set(Queue)
