"""Small real networks on this machine's clock and on VTA's simulator."""

import numpy as np
import onnx
import pytest

from qcompile.compiler import compile_model
from qcompile.errors import DeviceError, InvalidInput
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network
from qcompile.search.latency import LatencyLaboratory, kernels_of, meters
from qcompile.search.latency.building import Workshop
from qcompile.targets import host_features, load_target
from tests.qcompile.quantizer.float_networks import Graph

EIGHT, TWO = Widths(8, 8), Widths(2, 2)


def network(path):
    """Two layers that have several kernels at few bits."""
    graph = Graph((32, 6, 6))
    x = graph.node("Relu", graph.conv("x", 32, 32, name="one"))
    onnx.save(graph.model(graph.conv(x, 32, 32, kernel=1, name="two")), path)
    return path


def samples():
    return {"x": np.random.default_rng(0).random((2, 32, 6, 6), dtype="float32")}


def laboratory(folder, target, **options):
    path = network(folder / "network.onnx")
    choices = {"one": (EIGHT, TWO), "two": (EIGHT,)}
    return LatencyLaboratory(path, choices, target, samples(), records=folder / "db", **options)


def no_building(*_):
    raise AssertionError("a network is built again")


def test_measures_each_network_once(tmp_path, monkeypatch):
    with laboratory(tmp_path, "vta-pynq") as found:
        first = found.survey()
    assert [each.spread_s for each in first.survey] == [0, 0]
    # Nothing of the simulator's time is outside of its layers.
    assert first.fitted.base_s == pytest.approx(0, abs=1e-12)

    monkeypatch.setattr(Workshop, "build", no_building)
    with laboratory(tmp_path, "vta-pynq") as again:
        assert again.survey() == first
        mixed = {"one": first.choices["one"][1], "two": first.choices["two"][0]}
        assert first.correct(again.measure(mixed)).rounds[0].error == pytest.approx(0, abs=1e-9)


@pytest.fixture
def here(monkeypatch):
    """A target that this machine runs; it is not measured long."""
    monkeypatch.setattr(meters, "ROUNDS", 3)
    monkeypatch.setattr(meters, "BLOCK_S", 0.005)
    target = load_target("x86-64-v3")
    if not target.runs_on(host_features()):
        pytest.skip(f"{target.name} needs instructions that this processor lacks")
    return target


def test_predicts_this_machine(tmp_path, here):
    with laboratory(tmp_path, here) as found:
        model = found.survey()
        kernels = {choice.kernel: choice for choice in model.choices["one"]}
        assert set(kernels) == {"conv2d_int8", "conv2d_bits"}
        mixed = {"one": kernels["conv2d_bits"], "two": model.choices["two"][0]}
        options = QuantizeOptions(bits={name: each.widths for name, each in mixed.items()})
        quantized = quantize_network(found.workshop.model, samples(), options)
        onnx.save(quantized.model, tmp_path / "mixed.onnx")
        asked, bundle = kernels_of(mixed, here), tmp_path / "bundle"
        compile_model(tmp_path / "mixed.onnx", here, output=bundle, kernels=asked)
        (found_round,) = model.correct(found.measure(mixed, bundle)).rounds
        with pytest.raises(InvalidInput, match="'one' runs on conv2d_bits, not on conv2d_int8"):
            found.measure(mixed | {"one": kernels["conv2d_int8"]}, bundle)
    assert found_round.measured.assignment == mixed
    # The machine may be busy; this is no test of its speed.
    assert found_round.predicted_s == pytest.approx(found_round.measured.seconds, rel=0.9)


def test_refuses_devices_of_others(tmp_path):
    with pytest.raises(DeviceError, match="sim would"):
        laboratory(tmp_path, "vta-pynq", device="local")
    with pytest.raises(DeviceError, match="sim: measures no networks for rpi4"):
        laboratory(tmp_path, "rpi4", device="sim")
    with pytest.raises(InvalidInput, match="threads is 2"):
        laboratory(tmp_path, "rpi4", device="model:rpi4", threads=2)


def test_refuses_choices_of_no_layer(tmp_path):
    path = network(tmp_path / "network.onnx")
    for choices in ({"one": (EIGHT,)}, {"one": (EIGHT,), "two": (EIGHT,), "three": (EIGHT,)}):
        with pytest.raises(InvalidInput, match="choices of layer"):
            LatencyLaboratory(path, choices, "rpi4", samples(), device="model:rpi4")


def test_refuses_kernels_of_no_layer(tmp_path):
    model = quantize_network(network(tmp_path / "network.onnx"), samples()).model
    onnx.save(model, tmp_path / "quantized.onnx")
    target, output = load_target("x86-64-v3"), tmp_path / "bundle"
    with pytest.raises(InvalidInput, match="no layer 'three'"):
        compile_model(tmp_path / "quantized.onnx", target, output=output, kernels={"three": "int8"})
