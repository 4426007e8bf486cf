"""onnxruntime as the reference: the model as it is, graph optimizations off.

Operators of QONNX run as standard ones (qonnx_expansion.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper

from qcompile.arrays import Array
from qcompile.commands.qonnx_expansion import expand_qonnx, is_qonnx
from qcompile.errors import InvalidModel, MissingPackage


def load_reference(model: str | Path) -> Callable[[dict[str, Array]], list[Array]]:
    """`model` in onnxruntime, from inputs by name to outputs in order.

    Optimizations are off because they change integers. Raises MissingPackage without
    onnxruntime, InvalidModel when onnxruntime cannot load or run the model.
    """
    session = _session(model, lambda: _runnable(model))
    return lambda inputs: list(_asking(model, lambda: session.run(None, inputs)))


def load_tensors(
    model: onnx.ModelProto, name: str | Path
) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """Every tensor that the nodes of `model` compute, by name; `name` is for messages.

    The same reference, and the same exceptions.
    """
    shown = (
        expand_qonnx(model)
        if is_qonnx(model)
        else onnx.ModelProto.FromString(model.SerializeToString())
    )
    names = [output for node in shown.graph.node for output in node.output if output]
    declared = {output.name for output in shown.graph.output}
    shown.graph.output.extend(
        helper.make_empty_tensor_value_info(n) for n in names if n not in declared
    )
    session = _session(name, shown.SerializeToString)

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        values = _asking(name, lambda: session.run(names, inputs))
        return dict(zip(names, values, strict=True))

    return run


def run_once(model: onnx.ModelProto, arguments: Sequence[Array]) -> Array:
    """The one result of a small model whose inputs are x0, x1, ..."""
    session = _session(model.graph.name, model.SerializeToString)
    inputs = {f"x{k}": array for k, array in enumerate(arguments)}
    (result,) = _asking(model.graph.name, lambda: session.run(None, inputs))
    return np.asarray(result)


def _session(model: str | Path, runnable: Callable[[], str | bytes]) -> Any:
    """onnxruntime's session of a file or of a file's content; `model` is for messages."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackage(
            "comparing needs onnxruntime: pip install 'qcompile[bench]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # its complaints arrive as exceptions
    content = runnable()
    return _asking(
        model,
        lambda: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]),
    )


def _runnable(model: str | Path) -> str | bytes:
    """What onnxruntime can load: the file, or its expansion when it holds operators of QONNX."""
    try:
        if not is_qonnx(onnx.load(model, load_external_data=False)):
            return str(model)
        return expand_qonnx(onnx.load(model)).SerializeToString()
    except (OSError, DecodeError) as error:
        raise InvalidModel(f"{model}: cannot be read: {error}") from error


def _asking(model: str | Path, question: Callable[[], Any]) -> Any:
    """What onnxruntime answers; its many exceptions share no base class but Exception."""
    try:
        return question()
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidModel(f"{model}: onnxruntime refuses it: {first}") from error
