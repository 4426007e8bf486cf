"""Networks of the kinds people deploy, float and int8 by onnxruntime's static quantizer."""

import onnx
import pytest

from qcompile.compiler import compile_model
from qcompile.errors import Unsupported
from qcompile.targets import load_target
from tests.acceptance.agreement import assert_float_agrees, assert_int8_agrees
from tests.acceptance.networks import NETWORKS, lstm

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def target():
    return load_target("host")


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_float_agrees(network, target, tmp_path):
    assert_float_agrees(network, target, tmp_path)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_int8_agrees(network, target, tmp_path):
    assert_int8_agrees(network, target, tmp_path)


def test_recurrent_networks_are_refused(target, tmp_path):
    onnx.save(lstm(), tmp_path / "lstm.onnx")
    with pytest.raises(Unsupported, match="recurrent"):
        compile_model(tmp_path / "lstm.onnx", target, output=tmp_path / "bundle")
