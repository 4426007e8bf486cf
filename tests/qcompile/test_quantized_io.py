"""Codes in, codes out: the same integers as quantizing the floats of the outer tensors."""

from importlib.resources import files

import numpy as np
import pytest

from qcompile import compile, load
from qcompile.commands.demo import IMAGES, NETWORKS
from qcompile.errors import Unsupported
from qcompile.targets import host_features

pytestmark = pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")

DATA = files("qcompile") / "demo_data"
COUNT = 50


def codes(values, port):
    """ONNX QuantizeLinear in NumPy, with the manifest's numbers."""
    limits = np.iinfo(port["dtype"])
    rounded = np.rint(values / np.float32(port["scale"])) + port["zero_point"]
    return np.clip(rounded, limits.min, limits.max).astype(port["dtype"])


def test_takes_and_returns_codes(tmp_path):
    model = DATA / NETWORKS["int8"]
    compile(model, "x86-64-v3", tmp_path / "floats", batch=COUNT)
    compile(model, "x86-64-v3", tmp_path / "codes", batch=COUNT, quantized_io=True)
    floats, network = load(tmp_path / "floats"), load(tmp_path / "codes")
    [source], [result] = network.manifest["inputs"], network.manifest["outputs"]
    assert (source["dtype"], source["bits"]) == (result["dtype"], result["bits"]) == ("uint8", 8)
    with np.load(DATA / IMAGES) as arrays:
        images = arrays["x"][:COUNT, None] / np.float32(255)

    found = network(codes(images, source))

    np.testing.assert_array_equal(found, codes(floats(images), result))
    header = (tmp_path / "codes" / "include" / f"{network.name}.h").read_text()
    assert "uint8_t" in header and f"ZERO_POINT {result['zero_point']}" in header


def test_refuses_a_network_without_outer_quantizers(tmp_path):
    with pytest.raises(Unsupported, match="--quantized-io: no input goes into"):
        compile(DATA / NETWORKS["fp32"], "x86-64-v3", tmp_path / "out", batch=1, quantized_io=True)
    assert not (tmp_path / "out").exists()
