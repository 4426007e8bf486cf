"""Pieces of well-known architectures, float and int8 by onnxruntime's static quantizer."""

import pytest

from qcompile.targets import load_target
from tests.acceptance.agreement import assert_float_agrees, assert_int8_layers_agree
from tests.acceptance.architectures import ARCHITECTURES

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def target():
    return load_target("host")


@pytest.mark.parametrize("network", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_float_agrees(network, target, tmp_path):
    assert_float_agrees(network, target, tmp_path)


@pytest.mark.parametrize("network", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_int8_layers_agree(network, target, tmp_path):
    """Whole int8 networks are those of `test_networks`."""
    assert_int8_layers_agree(network, target, tmp_path)
