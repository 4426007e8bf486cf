"""Read the folder of a segment, and refuse what cannot be what was written."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompile.errors import BundleError, QCompileError
from qcompile.files import expect_regular
from qcompile.targets.vta.config import Config
from qcompile.vta.segment import (
    IMAGE_ADDRESS,
    INSTRUCTION_BYTES,
    SegmentLayer,
    SegmentTensor,
    VtaSegment,
)


def read_segments(folder: Path, manifest: Mapping[str, Any]) -> Sequence[VtaSegment]:
    """The segments of the bundle in `folder`. Raises BundleError where one is missing or damaged.

    manifest: the bundle's, which knows the checksum of every file.
    """
    if not manifest["vta"]["segments"]:
        raise BundleError(f"{folder}: manifest.json is damaged: no segments")
    segments = []
    for number, told in enumerate(manifest["vta"]["segments"]):
        place = str(told["folder"])
        segment = read_segment(folder / place)
        for file in segment.files():
            content = _read(folder / place / file)
            if hashlib.sha256(content).hexdigest() != manifest["files"][f"{place}/{file}"]:
                raise BundleError(
                    f"{folder / place / file}: damaged: its checksum is not the manifest's"
                )
        if segment.number != number or segment.name != told["name"]:
            raise BundleError(
                f"{folder / place}: holds segment {segment.number} {segment.name!r}; the bundle "
                f"has {number} {told['name']!r} there"
            )
        segments.append(segment)
    return segments


def read_segment(folder: Path) -> VtaSegment:
    """The segment in `folder`, of a bundle or a dump. Raises BundleError where it is damaged."""
    told, config = _read_json(folder / "manifest.json"), _read_json(folder / "vta_config.json")
    try:
        segment = VtaSegment(
            number=int(told["number"]),
            name=str(told["name"]),
            config=Config.from_json(config),
            port_bytes=int(told["port_bits"]) // 8,
            clock_hz=float(told["clock_hz"]),
            instructions=_read(folder / "insn.bin"),
            image=_read(folder / "dram.bin"),
            tensors=tuple(
                SegmentTensor(
                    **{**fields, **{name: tuple(fields[name]) for name in ("shape", "blocks")}}
                )
                for fields in told["tensors"]
            ),
            inputs=tuple(map(str, told["inputs"])),
            outputs=tuple(map(str, told["outputs"])),
            layers=tuple(
                SegmentLayer(**{**fields, "products": tuple(fields["products"])})
                for fields in told["layers"]
            ),
        )
        count, size = int(told["instructions"]["count"]), int(told["image"]["bytes"])
        _expect_consistent(folder, segment, count, size, str(told["config"]))
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        kind = type(error).__name__
        raise BundleError(f"{folder}: manifest.json is damaged: {kind}: {error}") from error
    return segment


def _expect_consistent(
    folder: Path, segment: VtaSegment, count: int, size: int, config: str
) -> None:
    """Raise BundleError where the files contradict each other."""
    if len(segment.instructions) != count * INSTRUCTION_BYTES:
        raise BundleError(
            f"{folder / 'insn.bin'}: has {len(segment.instructions)} bytes; "
            f"{count} instructions have {count * INSTRUCTION_BYTES}"
        )
    if len(segment.image) != size:
        raise BundleError(
            f"{folder / 'dram.bin'}: has {len(segment.image)} bytes; manifest.json says {size}"
        )
    if segment.config.name != config:
        raise BundleError(
            f"{folder / 'vta_config.json'}: is {segment.config.name}; the program is for {config}"
        )
    try:
        segment.config.expect_encodable()
        segment.decoded()
    except QCompileError as error:
        raise BundleError(f"{folder}: {error}") from error
    for tensor in segment.tensors:
        if not IMAGE_ADDRESS <= tensor.address <= IMAGE_ADDRESS + size - tensor.bytes:
            raise BundleError(
                f"{folder / 'manifest.json'}: {tensor.name!r} has {tensor.bytes} bytes at "
                f"{tensor.address:#x}; the image ends at {IMAGE_ADDRESS + size:#x}"
            )
    for name in (*segment.inputs, *segment.outputs):
        segment.tensor(name)
    for layer in segment.layers:
        if not 0 <= layer.first <= layer.last < count:
            raise BundleError(
                f"{folder / 'manifest.json'}: {layer.name!r} has instructions {layer.first} to "
                f"{layer.last} of {count}"
            )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise BundleError(f"{path}: damaged: {error}") from error


def _read(path: Path) -> bytes:
    try:
        expect_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
