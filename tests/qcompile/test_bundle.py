"""A bundle in process: arrays in and out, and errors that say what does not fit."""

import json
import os
import shutil

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from qcompile.bundle import load
from qcompile.errors import BundleError, InvalidInput
from qcompile.export import export_bundle
from qcompile.targets import host_features, load_target

TARGET = load_target("x86-64-v3")

pytestmark = pytest.mark.skipif(
    not TARGET.runs_on(host_features()), reason=f"this processor cannot run {TARGET.name}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """sum = a + b, double = 2 b: a is float32 (4, 3), b int8 (4, 3) named `b:0`."""
    builder = relax.BlockBuilder()
    a = relax.Var("a", relax.TensorType((4, 3), "float32"))
    b = relax.Var("b", relax.TensorType((4, 3), "int8"))
    with builder.function("main", [a, b]):
        with builder.dataflow():
            total = builder.emit(op.add(a, op.astype(b, "float32")))
            double = builder.emit(op.add(b, b))
            outputs = builder.emit_output(relax.Tuple([total, double]))
        builder.emit_func_output(outputs)
    io = {"inputs": [{"name": "a"}, {"name": "b:0", "scale": 0.5, "zero_point": 3, "bits": 8}]}
    io["outputs"] = [{"name": "sum"}, {"name": "double"}]
    mod = relax.transform.LegalizeOps()(builder.get()).with_attr("qcompile.io", json.dumps(io))
    found = tmp_path_factory.mktemp("bundle") / "sums"
    export_bundle(mod, name="sums", target=TARGET, output=found, report={"kernels": []})
    return found


def arrays(samples: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(samples)
    b = rng.integers(-60, 60, (samples, 3), dtype="int8")
    return rng.standard_normal((samples, 3), dtype="float32"), b


def test_takes_arrays_by_place_and_by_name(folder):
    bundle = load(folder)
    a, b = arrays()
    for total, double in (bundle(a, b), bundle(a, **{"b:0": b}), bundle(**{"b:0": b, "a": a})):
        np.testing.assert_array_equal(total, a + b)
        np.testing.assert_array_equal(double, 2 * b)


def test_takes_any_float_type_and_any_memory_order(folder):
    a, b = arrays()
    total, _ = load(folder)(np.asfortranarray(a.astype("float64")), b[:, ::-1][:, ::-1])
    np.testing.assert_array_equal(total, a + b)


@pytest.mark.parametrize("samples", [1, 4, 6, 8])
def test_runs_batches_of_samples(folder, samples):
    a, b = arrays(samples)
    found = load(folder).run_batches({"a": a, "b:0": b})
    assert list(found) == ["sum", "double"]
    np.testing.assert_array_equal(found["sum"], a + b)
    np.testing.assert_array_equal(found["double"], 2 * b)


def test_refuses_what_does_not_fit(folder):
    bundle = load(folder)
    a, b = arrays()
    with pytest.raises(InvalidInput, match=r"'a' takes shape \(4, 3\), found \(2, 3\)"):
        bundle(a[:2], b)
    with pytest.raises(InvalidInput, match="'b:0' takes int8, found int16"):
        bundle(a, b.astype("int16"))
    with pytest.raises(InvalidInput, match=r"\['a', 'c'\]"):
        bundle(a, c=b)
    with pytest.raises(InvalidInput, match="twice"):
        bundle(a, b, a=a)
    with pytest.raises(InvalidInput, match="3 inputs"):
        bundle(a, b, b)


def test_the_manifest_tells_inputs_and_outputs(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["inputs"][1] == {
        **{"name": "b:0", "dtype": "int8", "shape": [4, 3]},
        **{"scale": 0.5, "zero_point": 3, "bits": 8},
    }
    assert [output["dtype"] for output in manifest["outputs"]] == ["float32", "int8"]
    assert manifest["target"] == "x86-64-v3" and "avx2" in manifest["features"]
    assert manifest["layers"] == [] and manifest["float_ops"] == []
    assert json.loads((folder / "report.json").read_text()) == {"kernels": []}
    header = (folder / "include" / "sums.h").read_text()
    assert "#define sums_b_0_ZERO_POINT 3" in header
    assert "int32_t sums_run(const float *a," in header


def test_a_library_that_was_replaced_is_loaded_anew(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    first = load(copy)
    first.set_threads(2)
    assert load(copy)._library.sums_threads() == 1


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("manifest.json", lambda content: b"{", "damaged"),
        ("manifest.json", lambda content: b"[]", "not the manifest"),
        ("manifest.json", lambda content: None, "no bundle"),
        (
            "manifest.json",
            lambda content: content.replace(b'"format": 1', b'"format": 9'),
            "format",
        ),
        ("manifest.json", lambda content: content.replace(b'"inputs"', b'"in"'), "damaged"),
        ("lib/libsums.so", lambda content: None, "cannot be loaded"),
        ("lib/libsums.so", lambda content: content[:1000], "checksum"),
        ("lib/libsums.so", lambda content: content[:-1] + b"x", "checksum"),
    ],
)
def test_refuses_damaged_bundles(folder, tmp_path, file, change, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = change((copy / file).read_bytes())
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        load(copy)
    with pytest.raises(BundleError):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_refuses_other_numbers_of_threads(folder, threads):
    with pytest.raises(BundleError, match="number is not 1 to 256"):
        load(folder, threads=threads)


@pytest.mark.parametrize("file", ["manifest.json", "lib/libsums.so"])
def test_refuses_pipes_in_place_of_files(folder, tmp_path, file):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / file).unlink()
    os.mkfifo(copy / file)
    with pytest.raises(BundleError, match="not a regular file"):
        load(copy)


def test_a_bundle_that_nobody_uses_ends_its_threads(folder):
    before = threading_count()
    bundle = load(folder, threads=3)
    assert threading_count() == before + 2
    del bundle
    assert threading_count() == before


def threading_count() -> int:
    """The threads of this process, those of libraries too."""
    return len(os.listdir("/proc/self/task"))
