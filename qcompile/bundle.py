"""Run a bundle in this process: NumPy in, NumPy out."""

import _ctypes
import ctypes
import hashlib
import json
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qcompile.arrays import Array, TensorSpec, run_samples, take_samples
from qcompile.errors import BundleError, InvalidInput
from qcompile.files import expect_regular
from qcompile.targets import host_architecture

ALIGNMENT = 64  # bytes, of the workspace
FORMAT = 1
NULL_POINTER = -1  # what a run returns for one, once it knows the processor


class Bundle:
    """A compiled network that runs in this process, from any of its threads. Made by `load`."""

    def __init__(
        self, manifest: Mapping[str, Any], opened: "OpenedLibrary", variant: str | None = None
    ) -> None:
        facts = facts_of(manifest, variant)
        self.manifest = manifest
        self.name = str(manifest["name"])
        self.inputs = TensorSpec.read(facts["inputs"])
        self.outputs = TensorSpec.read(facts["outputs"])
        self._opened = opened
        self._library = library = opened.library
        self._run = library[str(facts.get("entry", f"{self.name}_run"))]
        self._error = library[f"{self.name}_error"]
        self._error.restype = ctypes.c_char_p
        self._workspaces = threading.local()

    def __call__(self, *arrays: Array, **named: Array) -> Array | tuple[Array, ...]:
        """The outputs of one run, in the manifest's order: one array, or a tuple of several.

        Inputs come in the manifest's order or by name, with exactly the compiled shapes; float
        inputs take any float type. Raises InvalidInput where they do not fit.
        """
        outputs = self.run(self._by_name(arrays, named))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs of one run, in the manifest's order, from inputs by name."""
        if set(inputs) != {spec.name for spec in self.inputs}:
            expected = [spec.name for spec in self.inputs]
            raise InvalidInput(f"found the inputs {list(inputs)}; the model's are {expected}")
        operands = [_fit(inputs[spec.name], spec) for spec in self.inputs]
        outputs: list[Array] = [np.empty(spec.shape, spec.dtype) for spec in self.outputs]
        pointers = [array.ctypes.data for array in (*operands, *outputs, self._workspace())]
        self._expect_success(self._run(*map(ctypes.c_void_p, pointers)))
        return outputs

    def run_batches(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for samples along the first axis of each input, by name.

        Inputs are of shape (samples, *input shape without its batch axis*); the last batch is
        filled up, and what that adds is cut off. Raises InvalidInput where they do not fit.
        """
        samples = take_samples(arrays, self.inputs)
        return run_samples(self.run, samples, self.inputs, [spec.name for spec in self.outputs])

    def variant(self, name: str) -> "Bundle":
        """The bundle's network of that name, with the same weights in memory and the same threads.

        Raises InvalidInput when there is none.
        """
        return Bundle(self.manifest, self._opened, name)

    def set_threads(self, threads: int) -> None:
        """Use that many threads from now on, the calling one among them."""
        self._expect_success(self._library[f"{self.name}_set_threads"](ctypes.c_int32(threads)))

    def expect_processor(self) -> None:
        """Raise BundleError when this processor lacks what the bundle needs."""
        nothing = [ctypes.c_void_p(None)] * (len(self.inputs) + len(self.outputs) + 1)
        if (status := self._run(*nothing)) != NULL_POINTER:
            self._expect_success(status)

    def _workspace(self) -> Array:
        """Aligned memory of the calling thread."""
        found: Array | None = getattr(self._workspaces, "memory", None)
        if found is None:
            memory = np.empty(int(self.manifest["workspace_bytes"]) + ALIGNMENT, np.uint8)
            found = self._workspaces.memory = memory[-memory.ctypes.data % ALIGNMENT :]
        return found

    def _by_name(self, arrays: tuple[Array, ...], named: Mapping[str, Array]) -> dict[str, Array]:
        if len(arrays) > len(self.inputs):
            raise InvalidInput(f"found {len(arrays)} inputs; the model has {len(self.inputs)}")
        given = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=False)}
        if twice := set(given) & set(named):
            raise InvalidInput(f"inputs given twice: {sorted(twice)}")
        return {**given, **named}

    def _expect_success(self, status: int) -> None:
        if status != 0:
            raise BundleError(f"{self.name}: {self._error(status).decode()}")


class OpenedLibrary:
    """A loaded library, until no bundle uses it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        # Ends the library's threads, and frees what it takes.
        weakref.finalize(self, _ctypes.dlclose, library._handle)


def load(directory: str | Path, threads: int | None = None, variant: str | None = None) -> Bundle:
    """The bundle in that folder, to run with so many threads (default: the manifest's).

    `variant` is the network to run where the bundle has several (default: the first). Of a bundle
    for VTA, the simulator runs VTA's part, and this processor the rest. Raises
    BundleError when it is missing or damaged, or when this processor lacks what it needs,
    InvalidInput when it has no such variant.
    """
    folder = Path(directory)
    manifest = read_manifest(folder)
    if "vta" not in manifest:
        _expect_architecture(folder, manifest)
    try:
        facts_of(manifest, variant)
        bundle = _opened(folder, manifest, variant)
        threads = int(manifest["threads"]) if threads is None else threads
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: damaged: {type(error).__name__}: {error}") from error
    bundle.expect_processor()
    bundle.set_threads(threads)
    return bundle


def _opened(folder: Path, manifest: Mapping[str, Any], variant: str | None) -> Bundle:
    if "vta" in manifest:
        from qcompile.vta.simulated import load_simulated

        return load_simulated(folder, manifest)
    library = open_library(folder, manifest, f"lib/lib{manifest['name']}.so")
    return Bundle(manifest, library, variant)


def _expect_architecture(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise BundleError when the library is for another kind of processors."""
    here, wanted = host_architecture(), manifest.get("architecture")
    if here is not None and wanted not in (None, here.name):
        raise BundleError(
            f"{folder}: compiled for {manifest.get('target')} ({wanted}); this machine is "
            f"{here.name}: use a device, --device qemu or --device ssh://USER@BOARD"
        )


def open_library(folder: Path, manifest: Mapping[str, Any], file: str) -> OpenedLibrary:
    """The shared library `file` of the bundle in `folder`. Raises BundleError."""
    path = folder / file
    try:
        expect_regular(path)
        # From a copy of its own: the system takes a path that it has seen for the library that it
        # has loaded, even when the file was replaced.
        with tempfile.TemporaryDirectory() as private:
            copy = Path(shutil.copy(path, private))
            if hashlib.sha256(copy.read_bytes()).hexdigest() != manifest["files"][file]:
                raise BundleError(f"{path}: damaged: its checksum is not the manifest's")
            return OpenedLibrary(ctypes.CDLL(str(copy)))
    except OSError as error:
        raise BundleError(f"{path}: cannot be loaded: {error.strerror or error}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in that folder. Raises BundleError when there is none."""
    path = folder / "manifest.json"
    try:
        expect_regular(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{folder}: no bundle: {path.name}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: not the manifest of a bundle of format {FORMAT}")
    return manifest


def facts_of(manifest: Mapping[str, Any], variant: str | None) -> Mapping[str, Any]:
    """The part of a manifest that is about one of its networks (None: the first).

    Raises InvalidInput when there is no such network.
    """
    if variant is None:
        return manifest
    variants: dict[str, Mapping[str, Any]] = {
        str(facts["name"]): facts for facts in manifest.get("variants", [])
    }
    if variant not in variants:
        known = ", ".join(variants) or "none; it was compiled without --variants"
        raise InvalidInput(f"{manifest['name']}: no variant {variant!r}; there are: {known}")
    return variants[variant]


def _fit(array: Array, spec: TensorSpec) -> Array:
    """The array in C order with the input's dtype."""
    array, expected = np.asarray(array), np.dtype(spec.dtype)
    floats = np.issubdtype(array.dtype, np.floating) and np.issubdtype(expected, np.floating)
    if array.dtype != expected and not floats:
        raise InvalidInput(f"input {spec.name!r} takes {expected}, found {array.dtype}")
    if array.shape != spec.shape:
        raise InvalidInput(f"input {spec.name!r} takes shape {spec.shape}, found {array.shape}")
    return np.ascontiguousarray(array, expected).reshape(spec.shape)
