"""A bundle on the modelled core, through the command line."""

import json
import re
import shutil
from pathlib import Path

import pytest

import qcompile
from qcompile.cli import main

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not all(map(shutil.which, ("qemu-aarch64", "llvm-mca-19", "llvm-mc-19"))),
        reason="needs qemu-user and llvm-19",
    ),
]
MODEL = Path(qcompile.__file__).parent / "demo_data" / "fmnist_cnn_int8_qdq.onnx"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modelled") / "net"
    assert main(["compile", str(MODEL), "--target", "rpi4", "-o", str(folder)]) == 0
    return folder


def answer(bundle, capfd):
    capfd.readouterr()
    assert main(["bench", str(bundle), "--device", "model:rpi4", "--json", "-"]) == 0
    return json.loads(capfd.readouterr().out)


def test_layers_make_up_the_inference(bundle, capfd):
    found = answer(bundle, capfd)
    layers = [x for x in json.loads((bundle / "manifest.json").read_text())["layers"] if x["macs"]]

    assert sum(x["cycles"] for x in found["layers"]) == pytest.approx(found["modelled_cycles"])
    assert {x["name"]: x["macs"] for x in found["layers"] if x["macs"]} == {
        x["name"]: x["macs"] for x in layers
    }
    # No kernel of this core does more than 8 products of int8 in a cycle.
    assert all(x["macs"] / x["cycles"] < 8 for x in found["layers"])
    assert found["unmodelled"] == 0


def test_two_answers_are_the_same_bytes(bundle, capfd):
    assert answer(bundle, capfd) == answer(bundle, capfd)


def test_says_that_nothing_was_measured(bundle, capfd):
    capfd.readouterr()
    assert main(["bench", str(bundle), "--device", "model:rpi4", "--per-layer"]) == 0
    told = capfd.readouterr().out
    assert "model of one cortex-a72, not a measurement of any board" in told
    assert re.search(r"^modelled: [\d,]+ cycles, [\d.]+ ms at 1\.5 GHz$", told, flags=re.MULTILINE)
    assert "modelled cycles" in told


@pytest.mark.parametrize(
    "options, message",
    [
        (["--device", "model:armv7-a9"], "compiled for aarch64, the modelled core is armv7"),
        (["--device", "model:aarch64"], "no model of generic (known: cortex-a53"),
        (["--device", "model:rpi9"], "no target 'rpi9'"),
        (["--device", "model:rpi4", "--threads", "2"], "models one inference on one core"),
    ],
)
def test_refuses_what_cannot_be_modelled(bundle, capfd, options, message):
    capfd.readouterr()
    assert main(["bench", str(bundle), *options]) == 1
    assert message in capfd.readouterr().err


def test_refuses_a_bundle_for_a_core_that_can_more(bundle, tmp_path, capfd):
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "features": ["neon", "dotprod"]}))
    capfd.readouterr()
    assert main(["bench", str(other), "--device", "model:rpi4"]) == 1
    assert "rpi4 lacks dotprod, which the code of" in capfd.readouterr().err


def test_tells_that_the_executable_is_missing(bundle, tmp_path, capfd):
    other = shutil.copytree(bundle, tmp_path / "other", ignore=shutil.ignore_patterns("*_bench"))
    capfd.readouterr()
    assert main(["bench", str(other), "--device", "model:rpi4"]) == 1
    assert "_bench: there is no such file" in capfd.readouterr().err
