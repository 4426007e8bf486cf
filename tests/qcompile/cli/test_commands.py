"""What the commands print and write."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from cli_fakes import SCORES, write_bundle

from qcompile import bench, check, compile, list_targets
from qcompile.commands.peers import PeerFailed
from qcompile.errors import InvalidInput, MissingPackage
from qcompile.layerwise import Difference, LayerAgreement
from qcompile.targets import load_processor


def test_checks(cli, calls):
    code, out, err = cli("check", "model.onnx", "--target", "znver4")
    assert (code, err) == (0, "")
    assert re.search(r"Conv_0 +Conv +u8 x s8 +2 M +2\.0 +integer +conv2d_int8", out)
    assert "Gemm_0\\x1b[31m" in out  # names cannot colour the terminal
    assert re.search(r"Erf +3 +Erf_0, Erf_1, \.\.\. +no integer form", out)
    assert "1 of 2 layers integer, 100.00 % of 2 M multiply-adds; weights 2.1 KiB" in out


def test_writes_the_check_as_json(cli, calls, tmp_path):
    file = tmp_path / "check.json"
    assert cli("check", "model.onnx", "--target", "znver4", "--json", file)[0] == 0
    answer = json.loads(file.read_text())
    assert answer["layers"][0]["name"] == "Conv_0" and answer["comparison"] is None
    assert answer["totals"] == {"macs": 2_000_020, "integer_macs": 2_000_000, "weight_bytes": 2128}
    code, out, _ = cli("check", "model.onnx", "--target", "znver4", "--json", "-")
    assert (code, json.loads(out)) == (0, answer)


def test_compares_with_the_reference(cli, calls, tmp_path, monkeypatch):
    def reference(model):
        return lambda inputs: [2 * inputs["x"][:, ::-1]]

    monkeypatch.setattr("qcompile.commands.check.load_reference", reference)
    np.savez(tmp_path / "data.npz", x=SCORES, y=[1, 0])
    file = tmp_path / "check.json"
    code, out, _ = cli("check", "m.onnx", "--data", tmp_path / "data.npz", "--json", file)
    assert code == 0 and re.search(r"accuracy: +100\.00 %\nonnxruntime's: +0\.00 %", out)
    assert json.loads(file.read_text())["comparison"] == {
        "samples": 2,
        "accuracy": 1.0,
        "reference_accuracy": 0.0,
        "same_top1": 0.0,
        "max_difference": {"y": 2.0},
        "reference_range": {"y": 2.0},
    }


PROOF = {
    "name": "Conv_0", "op": "conv2d", "codes": [0, 255], "lowest": -300, "highest": 20,
    "channel": 1, "bits": 10, "float32_exact": True, "kernel": "conv2d_int8", "int32": True,
}  # fmt: skip


def test_proves_the_sums(cli, calls):
    code, out, err = cli("check", "m.onnx", "--target", "znver4", "--layers")
    assert (code, err) == (0, "")
    assert re.search(r"Conv_0 +conv2d_int8 +0 \.\. 255 +-300 +20 +10 +yes\n", out)
    assert "proved: no int32 accumulator overflows; the widest, of Conv_0, needs 10 bits\n" in out
    _, out, _ = cli("check", "m.onnx", "--target", "znver4", "--layers", "--json", "-")
    answer = json.loads(out)
    assert answer["certificate"] == {"format": 1, "layers": [PROOF]}
    assert answer["agreement"] is None
    _, out, _ = cli("check", "m.onnx", "--target", "znver4", "--json", "-")
    assert json.loads(out)["certificate"] is None


AGREEING = LayerAgreement(
    "t", "Relu_1", ("Conv_0",), ("conv2d_int8",), True, 100, 2, 1.0, 1e-6, 0,
    Difference(3, (0, 7), 5, 4, 1e-6),
)  # fmt: skip
WRONG = replace(
    AGREEING, layers=(), kernels=(), disagreeing=1, first=Difference(4, (0, 1), 9, 4, 0.25)
)
FLOATS = replace(AGREEING, node="Add_2", codes=False, layers=(), kernels=(), difference=3e-8)


def compared(cli, tmp_path, monkeypatch, *layers):
    """`check --layers` on samples with that answer: code, output, messages, what JSON says."""
    monkeypatch.setattr("qcompile.commands.check.load_reference", lambda model: fake_reference)
    monkeypatch.setattr("qcompile.commands.check._layers", lambda *arguments: layers)
    np.savez(tmp_path / "data.npz", x=SCORES)
    file = tmp_path / "check.json"
    data = ("--data", tmp_path / "data.npz", "--json", file)
    code, out, err = cli("check", "m.onnx", "--layers", *data)
    return code, out, err, json.loads(file.read_text())["agreement"]


def fake_reference(inputs):
    return [2 * inputs["x"]]


def test_compares_layers(cli, calls, tmp_path, monkeypatch):
    code, out, err, answer = compared(cli, tmp_path, monkeypatch, AGREEING, FLOATS)
    assert (code, err) == (0, "")
    bounds = r"-300 \.\. 20 \(10 bits\)"
    assert re.search(
        rf"Conv_0 +conv2d_int8 +100 +2 +1 step +{bounds} +ties, at most 1e-06 of a", out
    )
    assert re.search(r"Add_2 +100 +- +3e-08 of the range +same floats\n", out)
    assert "98 of 100 codes are the reference's, the others lie at a tie" in out
    assert "first Conv_0, sample 3, index [0, 7]: ours 5, the reference's 4, 1.0e-06 of a" in out
    assert [layer["agrees"] for layer in answer] == [True, True]


def test_a_layer_that_disagrees_ends_with_code_1(cli, calls, tmp_path, monkeypatch):
    nothing = replace(WRONG, difference=float("inf"), first=Difference(0, (), 1, 2, None))
    code, out, err, answer = compared(cli, tmp_path, monkeypatch, AGREEING, WRONG, nothing)
    place = "first Relu_1, sample 4, index [0, 1]: ours 9, the reference's 4, 2.5e-01 of a step"
    assert code == 1 and re.search(r"Relu_1 +100 +2 +1 step +DISAGREES in 1\n", out)
    message = f"DISAGREES with the reference: Relu_1, Relu_1; {place} from a tie\n"
    assert message in out and err == f"qcompile: {message}"
    assert answer[1]["agrees"] is False and answer[1]["first"]["index"] == [0, 1]
    assert answer[2]["difference"] is None


def test_reads_the_samples_before_it_compiles(cli, calls, tmp_path):
    np.savez(tmp_path / "data.npz", x=SCORES[:, :1])
    code, _, err = cli("check", "m.onnx", "--target", "znver4", "--data", tmp_path / "data.npz")
    assert code == 1 and "data.npz: input 'x' takes shape (samples, 2), found (2, 1)" in err
    assert calls == []


def test_compiles(cli, calls, tmp_path):
    shape = ("--batch", 2, "--shape", "a:b:1x128", "--shape", "x:3")
    code, out, err = cli("compile", "m.onnx", "--target", "znver4", "-o", tmp_path / "out", *shape)
    assert (code, err) == (0, "")
    assert re.search(r"inputs: +x float32 1x2\n", out) and re.search(r"library: +10\.0 KiB", out)


def test_says_what_the_host_is(cli, calls, tmp_path):
    _, out, _ = cli("compile", "m.onnx", "--target", "host", "-o", tmp_path / "out")
    assert out.startswith("host: detected: ") and "int8 dot product" in out


def test_hands_the_options_on(calls, tmp_path):
    compile("m.onnx", "znver4", tmp_path / "out", batch=2, shapes={"x": (3,)}, quantized_io=True)
    [(model, target, options)] = calls
    assert (model, target, options.pop("progress")) == ("m.onnx", "znver4", None)
    expected = {"batch": 2, "shapes": {"x": (3,)}, "quantized_io": True, "dump_ir": None}
    expected |= {"variants": None, "records": None, "scales": None, "threads": 1}
    assert options == expected
    compile("m.onnx", "znver4", tmp_path / "other", scales="power-of-two")
    assert calls[1][2]["scales"] == "power-of-two"
    assert check("m.onnx", "znver4").target.name == "znver4"


def test_runs(cli, calls, tmp_path):
    np.savez(tmp_path / "in.npz", x=SCORES, y=[1, 1])
    inputs, outputs = ("--inputs", tmp_path / "in.npz"), ("--outputs", tmp_path / "out.npz")
    code, out, err = cli("run", write_bundle(tmp_path / "net"), *inputs, *outputs)
    assert (code, err) == (0, "")
    assert re.search(r"y: +float32 \(2, 2\)\naccuracy: 50\.00 % of 2 samples\n", out)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], 2 * SCORES)


def test_measures(cli, tmp_path):
    folder = write_bundle(tmp_path / "net")
    file = tmp_path / "bench.json"
    code, out, err = cli("bench", folder, "--repeat", 4, "--per-layer", "--json", file)
    assert (code, err) == (0, "")
    assert re.search(r"qcompile \S+ +1\.000 +1\.000 - 1\.000 +1\.00 +4\n", out)
    assert re.search(r"Conv_0 +conv2d_int8 +600\.0 +590\.0 +66\.67 % +3\.3\n", out)
    answer = json.loads(file.read_text())
    assert answer["latencies"][0]["median_s"] == 0.001 and answer["threads"] == 1
    assert [layer["name"] for layer in answer["layers"]] == ["Conv_0", "Gemm_0"]


def test_measures_ours_when_a_peer_refuses_its_model(cli, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PeerFailed("litert: bad model")

    monkeypatch.setattr("qcompile.commands.bench.Peer", refuse)
    (tmp_path / "net.tflite").touch()
    peers = ("--against", f"litert={tmp_path}/net.tflite", "--repeat", 2)
    code, out, _ = cli("bench", write_bundle(tmp_path / "net"), *peers)
    assert code == 0 and "qcompile 0" in out and "not measured: litert: bad model" in out


def test_measures_nothing_without_a_peer_or_its_model(cli, tmp_path, monkeypatch):
    def missing(*arguments):
        raise MissingPackage("litert: it is not installed")

    monkeypatch.setattr("qcompile.commands.bench.Peer", missing)
    (tmp_path / "net.tflite").touch()
    folder = write_bundle(tmp_path / "net")
    code, out, err = cli("bench", folder, "--against", f"litert={tmp_path}/net.tflite")
    assert (code, out) == (1, "") and "litert: it is not installed" in err
    for model, reason in (("none.onnx", "No such file or directory"), ("", "not a regular file")):
        peers = ("--against", "onnxruntime", "--model", tmp_path / model)
        code, out, err = cli("bench", folder, *peers)
        assert (code, out) == (1, "") and f"{tmp_path / model}: cannot be read: {reason}" in err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"repeat": 0}, "repeat is 0"),
        ({"repeat": -1}, "repeat is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"against": {"tvm": None}}, r"unknown peers \['tvm'\]: known are onnxruntime"),
    ],
)
def test_bench_refuses_what_cannot_be_measured(tmp_path, wrong, message):
    with pytest.raises(InvalidInput, match=message):
        bench(write_bundle(tmp_path / "net"), model="m.onnx", **wrong)


def test_draws(cli, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("bench", write_bundle(tmp_path / "net"), "--per-layer", "--plots")
    assert code == 0 and "wrote" in out
    for name in ("latency.png", "layers.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_lists_targets(cli):
    code, out, _ = cli("targets")
    assert code == 0 and all(name in out for name in list_targets())
    code, out, _ = cli("targets", "alderlake")
    assert code == 0 and "AVX-VNNI" in out and "Golden Cove" in out
    code, out, _ = cli("targets", "vta-ultra96")
    assert code == 0 and "1x16_i8w8a32_15_15_18_17 at 333 MHz" in out and "cortex-a53" in out


@pytest.mark.parametrize(
    ("target", "instruction"),
    [
        *(("rpi3", "smlal, sadalp"), ("rpi5", "sdot"), ("neoverse-n2", "usmmla")),
        ("armv7-a9", "vmlal, vpadal"),
    ],
)
def test_tells_of_targets_for_boards(cli, target, instruction):
    architecture = load_processor(target).architecture.name
    code, out, _ = cli("targets", target)
    assert code == 0
    assert re.search(rf"^runs here:\s+no: this machine is no {architecture}$", out, re.MULTILINE)
    assert re.search(rf"^int8 dot product:\s+{instruction}$", out, re.MULTILINE)


@pytest.mark.parametrize(
    "command", ["check", "compile", "run", "bench", "targets", "devices", "demo"]
)
def test_teaches_every_command(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0 and f"  qcompile {command}" in out
