"""The NPZ contract: what is taken, what is refused, and how samples become batches."""

import os
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.arrays import (
    TensorSpec,
    accuracy,
    npz_bytes,
    read_samples,
    run_samples,
    take_samples,
    top_classes,
)
from qcompile.errors import InvalidInput

IMAGE = TensorSpec("image", "float32", (2, 3))
TOKENS = TensorSpec("tokens", "int64", (2, 4))


@settings(max_examples=50, deadline=None)
@given(
    batch=st.integers(1, 5),
    count=st.integers(1, 13),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    features=st.integers(1, 4),
)
def test_runs_every_sample_once(batch, count, dtype, features):
    spec = TensorSpec("x", "float32", (batch, features))
    x = np.arange(count * features, dtype=dtype).reshape(count, features)
    seen = []

    def model(inputs):
        assert inputs["x"].shape == spec.shape and inputs["x"].dtype == np.float32
        seen.append(inputs["x"])
        return [2 * inputs["x"], inputs["x"].sum(dtype="float32")]

    found = run_samples(model, take_samples({"x": x}, [spec]), [spec], ["double", "sum"])

    np.testing.assert_array_equal(found["double"], 2 * x.astype("float32"))
    assert found["sum"].shape == (len(seen),) and len(seen) == -(-count // batch)


def test_stacks_samples_of_a_model_without_batch_axis():
    specs = [TensorSpec("a", "float32", (3,)), TensorSpec("b", "float32", (2, 2))]
    arrays = {"a": np.ones((5, 3), "f4"), "b": np.ones((5, 2, 2), "f4")}
    found = run_samples(lambda x: [x["a"]], take_samples(arrays, specs), specs, ["y"])
    assert found["y"].shape == (5, 3)


def test_takes_lists_for_arrays():
    assert take_samples({"image": [[1.0, 2.0, 3.0]]}, [IMAGE]).count == 1
    with pytest.raises(InvalidInput, match="takes a float type, found int64"):
        take_samples({"image": [[1, 2, 3]]}, [IMAGE])


def test_takes_a_single_input_by_any_name():
    taken = take_samples({"pixels": np.ones((4, 3)), "label": np.arange(4)}, [IMAGE])
    assert list(taken.inputs) == ["image"] and taken.count == 4
    np.testing.assert_array_equal(taken.labels, np.arange(4))


def test_takes_an_input_called_y_as_input():
    spec = TensorSpec("y", "float32", (1, 3))
    assert take_samples({"y": np.ones((4, 3))}, [spec]).labels is None
    assert take_samples({"y": np.ones((4, 3)), "label": np.arange(4)}, [spec]).labels is not None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.ones((4, 3))}, "holds the arrays ['image']; the model's inputs are"),
        ({"image": np.ones((4, 3)), "token": np.ones((4, 4), "i8")}, "the model's inputs are"),
        (
            {"image": np.ones((4, 3), "u1"), "tokens": np.ones((4, 4), "i8")},
            "input 'image' takes a float type, found uint8",
        ),
        (
            {"image": np.ones((4, 3)), "tokens": np.ones((4, 4), "i4")},
            "input 'tokens' takes int64, found int32",
        ),
        (
            {"image": np.ones((4, 1, 3)), "tokens": np.ones((4, 4), "i8")},
            "input 'image' takes shape (samples, 3), found (4, 1, 3)",
        ),
        (
            {"image": np.ones(()), "tokens": np.ones((4, 4), "i8")},
            "input 'image' takes shape (samples, 3), found ()",
        ),
        (
            {"image": np.ones((3, 3)), "tokens": np.ones((4, 4), "i8")},
            "expected the same number of samples, at least one",
        ),
        (
            {"image": np.ones((0, 3)), "tokens": np.ones((0, 4), "i8")},
            "at least one; found {'image': 0, 'tokens': 0}",
        ),
        (
            {"image": np.ones((4, 3)), "tokens": np.ones((4, 4), "i8"), "y": np.ones(4)},
            "labels take integers of shape (samples,), found float64 (4,)",
        ),
        (
            {"image": np.ones((4, 3)), "tokens": np.ones((4, 4), "i8"), "y": np.ones(3, "i8")},
            "expected the same number of samples",
        ),
    ],
)
def test_says_what_does_not_fit(arrays, message):
    with pytest.raises(InvalidInput, match=re.escape(message)):
        take_samples(arrays, [IMAGE, TOKENS])


def test_reads_npz_and_npy(tmp_path):
    x = np.random.default_rng(0).random((5, 3))
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.npz").write_bytes(npz_bytes({"file": x, "y": np.arange(5)}))
    for name in ("x.npy", "x.npz"):
        found = read_samples(tmp_path / name, [IMAGE])
        np.testing.assert_array_equal(found.inputs["image"], x.astype("float32"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        b"PK\x03\x04 and then nothing",
        b"\x93NUMPY\x01\x00\x10\x00 not a header  ",
        npz_bytes({"x": np.ones((4, 3))})[:-30],
        npz_bytes({"x": np.ones((4, 3))}).replace(b"NUMPY", b"NOMPY"),
        npz_bytes({"x": np.ones((400, 3))})[:900],
    ],
)
def test_refuses_damaged_files(tmp_path, content):
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"damaged\.npz"):
        read_samples(path, [IMAGE])


@pytest.mark.parametrize("shape", ["(4,", "(1e9)", "(2**60,)", "('a',)", "(" * 400, "(-1,)"])
def test_refuses_headers_that_lie(tmp_path, shape):
    path = tmp_path / "damaged.npy"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InvalidInput, match=r"damaged\.npy: (not an|its arrays)"):
        read_samples(path, [IMAGE])


def test_refuses_arrays_that_do_not_fit_the_memory(tmp_path):
    path = tmp_path / "huge.npy"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**58},), }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InvalidInput, match=r"huge\.npy: its arrays do not fit the memory"):
        read_samples(path, [IMAGE])


def test_refuses_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "mixed.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(InvalidInput, match=r"mixed\.npz: holds 'notes\.txt', which is no array"):
        read_samples(path, [IMAGE])


def test_refuses_pickles_and_missing_files(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    os.mkfifo(tmp_path / "pipe")
    for name in ("objects.npy", "none.npz", ".", "pipe"):
        with pytest.raises(InvalidInput, match=re.escape(str(tmp_path))):
            read_samples(tmp_path / name, [IMAGE])


def test_scores_classes():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.4]])
    assert accuracy(scores, np.array([1, 0, 1])) == pytest.approx(2 / 3)
    assert accuracy(np.array([3, 4]), np.array([3, 5])) == 0.5
    assert top_classes(np.array([0.5, 0.25])) is None
    assert accuracy(scores[:2], np.array([1, 0, 1])) is None
