"""A bundle for VTA on this machine: the host part native, the segments in the simulator."""

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qcompile.arrays import Array
from qcompile.bundle import Bundle, OpenedLibrary, open_library
from qcompile.export.accelerator import FAILED
from qcompile.targets.vta import functional
from qcompile.vta.folders import read_segments
from qcompile.vta.segment import IMAGE_ADDRESS, SegmentTensor, VtaSegment

# Takes a segment and its memory before and after its program, inputs in place.
Watch = Callable[[VtaSegment, Array, Array], None]

_POINTERS = ctypes.POINTER(ctypes.c_void_p)
_HOOK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, _POINTERS, _POINTERS)


class SimulatedSegment:
    """A segment and its memory, which stays between runs as it does on a board."""

    def __init__(self, segment: VtaSegment) -> None:
        self.segment = segment
        self.image = segment.image_array()
        self._instructions = segment.decoded()
        self._inputs = [segment.tensor(name) for name in segment.inputs]
        self._outputs = [segment.tensor(name) for name in segment.outputs]
        self._checked = False

    def reset(self) -> None:
        """Give the memory what it holds before the first run."""
        self.image = self.segment.image_array()

    def place(self, inputs: Sequence[Array]) -> None:
        """Put the bytes of the inputs into the memory."""
        for tensor, content in zip(self._inputs, inputs, strict=True):
            self.image[_part(tensor)] = content

    def launch(self) -> None:
        """Run the program on the memory."""
        # What may race depends on the program alone: once is enough.
        functional.run(
            self.segment.config, self._instructions, self.image, find_races=not self._checked
        )
        self._checked = True

    def outputs(self) -> list[Array]:
        """The bytes of the outputs, in the memory."""
        return [self.image[_part(tensor)] for tensor in self._outputs]

    def call(self, inputs: Any, outputs: Any, watch: Watch | None = None) -> None:
        """Run on pointers to as many bytes as the tensors have."""
        self.place([_bytes_at(inputs[k], t.bytes) for k, t in enumerate(self._inputs)])
        before = self.image.copy() if watch is not None else self.image
        self.launch()
        if watch is not None:
            watch(self.segment, before, self.image)
        for k, found in enumerate(self.outputs()):
            _bytes_at(outputs[k], self._outputs[k].bytes)[:] = found


class SimulatedBundle(Bundle):
    """A compiled network whose segments the simulator of VTA computes. Made by `load`."""

    def __init__(
        self, manifest: Mapping[str, Any], opened: OpenedLibrary, segments: Sequence[VtaSegment]
    ) -> None:
        sizes = {"workspace_bytes": manifest["vta"]["simulated"]["workspace_bytes"]}
        super().__init__({**manifest, **sizes}, opened)
        self.segments = [SimulatedSegment(segment) for segment in segments]
        self._busy = threading.Lock()
        self._failed: BaseException | None = None
        self._watch: Watch | None = None
        self._hook = _HOOK(self._run_segment)
        self._library[f"{self.name}_set_vta"](self._hook, None)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs of one run, in the manifest's order, from inputs by name.

        Raises InvalidProgram, and what else the simulator finds.
        """
        with self._busy:
            return super().run(inputs)

    def watch(self, inputs: Mapping[str, Array], watch: Watch) -> list[Array]:
        """The outputs of one run on fresh memory; `watch` gets each segment's before and after."""
        with self._busy:
            for segment in self.segments:
                segment.reset()
            self._watch = watch
            try:
                return super().run(inputs)
            finally:
                self._watch = None

    def _run_segment(self, _: int | None, number: int, inputs: Any, outputs: Any) -> int:
        try:
            self.segments[number].call(inputs, outputs, self._watch)
        except BaseException as error:  # C knows no exceptions: `_expect_success` raises it
            self._failed = error
            return FAILED
        return 0

    def _expect_success(self, status: int) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        super()._expect_success(status)


def load_simulated(folder: Path, manifest: Mapping[str, Any]) -> SimulatedBundle:
    """The bundle for VTA in `folder`. Raises BundleError where it is damaged."""
    segments = read_segments(folder, manifest)
    library = open_library(folder, manifest, str(manifest["vta"]["simulated"]["library"]))
    return SimulatedBundle(manifest, library, segments)


def _part(tensor: SegmentTensor) -> slice:
    start = tensor.address - IMAGE_ADDRESS
    return slice(start, start + tensor.bytes)


def _bytes_at(address: int, count: int) -> Array:
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
    return np.ctypeslib.as_array(pointer, (count,))
