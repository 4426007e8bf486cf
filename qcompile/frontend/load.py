"""Read an ONNX file: from bytes to a model whose tensors all lie inside of it."""

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from qcompile.errors import InvalidModel, Unsupported
from qcompile.files import expect_regular
from qcompile.frontend.external import load_external_data
from qcompile.frontend.functions import expand_functions
from qcompile.frontend.validate import validate

MAX_BYTES = 2**31 - 1  # what protobuf can parse


def load_model(model: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """A checked copy of the model, its nodes in topological order, its external data loaded."""
    if isinstance(model, onnx.ModelProto):
        loaded = onnx.ModelProto()
        loaded.CopyFrom(model)
        load_external_data(loaded, None)
    else:
        loaded = _parse(Path(model))
        load_external_data(loaded, Path(model).parent)
    validate(loaded)
    expanded = expand_functions(loaded)
    if expanded is not loaded:
        validate(expanded)
    return expanded


def model_name(model: str | Path | onnx.ModelProto) -> str:
    """The file's stem, or the graph's name."""
    if isinstance(model, onnx.ModelProto):
        return str(model.graph.name) or "model"
    return Path(model).stem


def _parse(path: Path) -> onnx.ModelProto:
    try:
        expect_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise Unsupported("files above 2 GiB; store the weights as external data")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"cannot be read: {error.strerror}") from error
    if not data:
        raise InvalidModel("the file is empty")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise InvalidModel("no ONNX file, or a damaged one: protobuf cannot decode it") from error
    if not model.HasField("graph") and not model.opset_import:
        raise InvalidModel("no ONNX file: it holds no graph")
    _check_text(model)
    return model


def _check_text(message: Message) -> None:
    """Raises InvalidModel for text that is no UTF-8; protobuf hands it on as it is."""
    try:
        if isinstance(message, onnx.TensorProto):
            texts, inner = [message.name], list(message.external_data)
        else:
            fields = message.ListFields()
            texts = [text for field, value in fields for text in _entries(field, value, "STRING")]
            inner = [each for field, value in fields for each in _entries(field, value, "MESSAGE")]
    except UnicodeDecodeError as error:
        raise InvalidModel("damaged: it holds text that is no UTF-8") from error
    if not all(isinstance(text, str) for text in texts):
        raise InvalidModel("damaged: it holds text that is no UTF-8")
    for each in inner:
        _check_text(each)


def _entries(field: FieldDescriptor, value: Any, kind: str) -> list[Any]:
    """The values of a field, when they are of a kind of protobuf's."""
    if field.type != getattr(FieldDescriptor, f"TYPE_{kind}"):
        return []
    return [value] if isinstance(value, str | bytes | Message) else list(value)
