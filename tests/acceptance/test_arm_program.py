"""The static executable for a board: small, of nobody's runtime, the same with threads."""

import shutil

import numpy as np
import pytest
from labelled import LABELLED

from qcompile.commands.run import run
from qcompile.compiler import compile_model
from qcompile.errors import DeviceError
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.shared,
    pytest.mark.skipif(
        not shutil.which("qemu-aarch64"), reason="needs qemu-user (apt-get install qemu-user)"
    ),
]
MOST_BYTES = 250_000  # of ResNet-8's executable, weights included


@pytest.fixture(scope="module")
def network(shared):
    return LABELLED["resnet8_int8_qdq"], shared


@pytest.fixture(scope="module")
def images(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, x=network[0].samples(network[1])[0][:4])
    return path


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rpi4") / "build"
    compile_model(network[0].model(network[1]), load_target("rpi4"), output=folder, batch=1)
    return folder


def test_is_small_and_needs_nothing(bundle):
    (program,) = (bundle / "bin").iterdir()
    content = program.read_bytes()
    assert len(content) < MOST_BYTES
    assert b"TVM" not in content and b"tvm_" not in content
    assert b"/ld-linux" not in content and b"/ld-musl" not in content  # no dynamic linker


def test_threads_change_nothing(bundle, images):
    alone, together = (run(bundle, images, device="qemu", threads=n).outputs for n in (1, 2))
    for name, values in alone.items():
        np.testing.assert_array_equal(values, together[name])


def test_refuses_a_core_without_dot_products(network, images, tmp_path):
    folder = tmp_path / "build"
    compile_model(network[0].model(network[1]), load_target("rpi5"), output=folder, batch=1)
    with pytest.raises(DeviceError, match="dotprod"):
        run(folder, images, device="qemu:cortex-a53")
