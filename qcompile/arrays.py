"""Samples in, outputs out: the arrays of an NPZ file and the batches of a model.

A file holds one array per model input, by name, of shape (samples, *input shape without its batch
axis*). Float inputs take any float type, integer inputs exactly theirs. A single-input model also
takes one array of any name, or a .npy file. Labels are the integer array `y` or `label`. A model
whose inputs do not share their first dimension has no batch axis: its arrays are of shape
(samples, *whole input shape*).
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcompile.errors import InvalidInput

Array = NDArray[Any]
LABEL_NAMES = ("y", "label")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model, with its compiled shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @staticmethod
    def read(fields: Iterable[Mapping[str, Any]]) -> list["TensorSpec"]:
        """The specs of a manifest's `inputs` or `outputs`; TypeError, ValueError and KeyError
        where they are none."""
        specs = [TensorSpec(f["name"], f["dtype"], tuple(f["shape"])) for f in fields]
        for spec in specs:
            np.dtype(spec.dtype)
            if not all(type(extent) is int and extent > 0 for extent in spec.shape):
                raise ValueError(f"the shape of {spec.name!r} is {list(spec.shape)}")
        return specs


@dataclass(frozen=True)
class Samples:
    """One array per input, all with the same number of samples, and perhaps their labels."""

    inputs: dict[str, Array]
    labels: Array | None

    @property
    def count(self) -> int:
        return len(next(iter(self.inputs.values())))


def read_samples(path: str | Path, specs: Sequence[TensorSpec]) -> Samples:
    """The samples in an .npz or .npy file. Raises InvalidInput where they do not fit `specs`."""
    arrays = _read_arrays(Path(path))
    try:
        return take_samples(arrays, specs)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def take_samples(arrays: Mapping[str, Array], specs: Sequence[TensorSpec]) -> Samples:
    """`arrays` as samples of a model. Raises InvalidInput where they do not fit `specs`."""
    named = {name: np.asarray(array) for name, array in arrays.items()}
    labels = None
    for name in LABEL_NAMES:
        if name in named and name not in {spec.name for spec in specs} and len(named) > 1:
            labels = named.pop(name) if labels is None else labels
    if len(specs) == 1 and len(named) == 1:
        named = {specs[0].name: next(iter(named.values()))}
    expected, found = [spec.name for spec in specs], list(named)
    if set(expected) != set(found):
        raise InvalidInput(f"holds the arrays {found}; the model's inputs are {expected}")
    batch = batch_size(specs)
    inputs = {spec.name: _fit(named[spec.name], spec, batch) for spec in specs}
    counts = {name: len(array) for name, array in inputs.items()}
    if labels is not None:
        labels = _fit_labels(labels)
        counts["labels"] = len(labels)
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise InvalidInput(f"expected the same number of samples, at least one; found {counts}")
    return Samples(inputs, labels)


def batch_size(specs: Sequence[TensorSpec]) -> int | None:
    """The first dimension that all inputs share, or None when there is none."""
    first = {spec.shape[0] if spec.shape else None for spec in specs}
    return first.pop() if len(first) == 1 else None


def run_samples(
    model: Callable[[dict[str, Array]], Sequence[Array]],
    samples: Samples,
    specs: Sequence[TensorSpec],
    outputs: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Array]:
    """All samples through `model`, batch by batch, by the names of its outputs.

    Outputs of shape (batch, ...) become (samples, ...); others are stacked, one for each run.
    """
    batch = batch_size(specs)
    runs: list[Sequence[Array]] = []
    for inputs in batches(samples, batch):
        runs.append([np.array(output) for output in model(inputs)])
        progress(min(len(runs) * (batch or 1), samples.count), samples.count)
    return join_runs(runs, outputs, batch, samples.count)


def join_runs(
    runs: Sequence[Sequence[Array]], outputs: Sequence[str], batch: int | None, count: int
) -> dict[str, Array]:
    """The outputs of runs for `count` samples, by name: what filled the last batch is cut off."""
    joined = {}
    for k, name in enumerate(outputs):
        pieces = [run[k] for run in runs]
        whole = batch is not None and pieces[0].shape[:1] == (batch,)
        joined[name] = np.concatenate(pieces)[:count] if whole else np.stack(pieces)
    return joined


def accuracy(scores: Array, labels: Array) -> float | None:
    """The share of samples whose class is the label, or None when `scores` is no classification.

    scores: (samples, ...classes), the highest wins; or (samples,) class numbers.
    """
    classes = top_classes(scores)
    if classes is None or len(classes) != len(labels):
        return None
    return float((classes == labels).mean())


def top_classes(scores: Array) -> Array | None:
    """(samples,) class numbers, or None when `scores` is no classification."""
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return flat[:, 0] if np.issubdtype(scores.dtype, np.integer) else None
    return np.asarray(flat.argmax(axis=1))


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The .npz file of `arrays`; unlike np.savez it takes any name, `file` too."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return content.getvalue()


def _read_arrays(path: Path) -> dict[str, Array]:
    """Every array of the file; a .npy file holds one without a name."""
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path}: not a regular file")
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"array": content}
        with content:
            arrays = {name: content[name] for name in content.files}
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InvalidInput(f"{path}: its arrays do not fit the memory") from error
    except Exception as error:  # NumPy, zipfile and the decompressors raise whatever comes
        raise InvalidInput(f"{path}: not an .npz or .npy file of numbers, or damaged") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InvalidInput(f"{path}: holds {name!r}, which is no array")
    return arrays


def _fit(array: Array, spec: TensorSpec, batch: int | None) -> Array:
    expected = np.dtype(spec.dtype)
    floats = np.issubdtype(expected, np.floating) and np.issubdtype(array.dtype, np.floating)
    if array.dtype != expected and not floats:
        kind = "a float type" if np.issubdtype(expected, np.floating) else str(expected)
        raise InvalidInput(f"input {spec.name!r} takes {kind}, found {array.dtype}")
    shape = spec.shape if batch is None else spec.shape[1:]
    if array.shape[1:] != shape or array.ndim == 0:
        wanted = ", ".join(["samples", *map(str, shape)])
        raise InvalidInput(f"input {spec.name!r} takes shape ({wanted}), found {array.shape}")
    return array.astype(expected, copy=False)


def _fit_labels(labels: Array) -> Array:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidInput(
            f"labels take integers of shape (samples,), found {labels.dtype} {labels.shape}"
        )
    return labels


def batches(samples: Samples, batch: int | None) -> Iterator[dict[str, Array]]:
    """Inputs of one run after the other; the last batch is filled up with its last sample."""
    if batch is None:
        for k in range(samples.count):
            yield {name: array[k] for name, array in samples.inputs.items()}
        return
    for start in range(0, samples.count, batch):
        rows = np.minimum(np.arange(start, start + batch), samples.count - 1)
        yield {name: array[rows] for name, array in samples.inputs.items()}
