"""Tensors stored in files beside the model, which must not lead out of the model's folder."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.tensors import byte_size


def all_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers and tensor attributes, those of subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        yield from node_tensors(node)


def node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from all_tensors(graph)


def load_external_data(model: onnx.ModelProto, folder: Path | None) -> None:
    """Put the bytes of external tensors into the model; `folder` is the model's own.

    Raises InvalidModel for missing or short files, and for paths that leave the folder.
    """
    tensors = list(all_tensors(model.graph))
    for function in model.functions:
        for node in function.node:
            tensors.extend(node_tensors(node))
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            if folder is None:
                raise Unsupported(
                    f"tensor '{tensor.name}' lies in an external file; pass the model's path"
                )
            _load(tensor, folder)


def _load(tensor: onnx.TensorProto, folder: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(tensor.name, entries.get("location", ""), folder)
    size = path.stat().st_size
    offset = _number(tensor.name, entries, "offset", 0)
    length = _number(tensor.name, entries, "length", size - offset)
    if offset + length > size or length < 0:
        raise InvalidModel(
            f"tensor '{tensor.name}' needs bytes {offset} to {offset + length} of "
            f"'{path.name}', which has {size}"
        )
    if length != byte_size(tensor):
        raise InvalidModel(
            f"tensor '{tensor.name}' of shape {list(tensor.dims)} needs {byte_size(tensor)} bytes "
            f"and '{path.name}' gives {length}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        tensor.raw_data = file.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _inside(name: str, location: str, folder: Path) -> Path:
    """The file, when it truly lies in `folder`, symbolic links followed."""
    pure = PurePosixPath(location), PureWindowsPath(location)
    outside = any(path.is_absolute() or path.drive or ".." in path.parts for path in pure)
    if not location or "\0" in location or outside:
        raise InvalidModel(f"tensor '{name}' is stored in '{location}'; only files beside it work")
    try:
        path = (folder / location).resolve(strict=True)
        inside = path.is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: symbolic links in a circle
        raise InvalidModel(f"tensor '{name}': no file '{location}' beside the model") from error
    if not inside:
        raise InvalidModel(f"tensor '{name}': '{location}' lies outside of the model's folder")
    if not path.is_file():
        raise InvalidModel(f"tensor '{name}': '{location}' is not a regular file")
    return path


def _number(name: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not text.isdecimal():
        raise InvalidModel(f"tensor '{name}': external {key} is {text!r}")
    return int(text)
