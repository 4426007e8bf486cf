"""onnxruntime as the reference: the model as it is, graph optimizations off.

Operators of QONNX run as standard ones (qonnx_expansion.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from qcompile.arrays import Array
from qcompile.commands.qonnx_expansion import expand_qonnx, is_qonnx
from qcompile.errors import InvalidModel, MissingPackage


def load_reference(model: str | Path) -> Callable[[dict[str, Array]], list[Array]]:
    """`model` in onnxruntime, from inputs by name to outputs in order.

    Optimizations are off because they change integers. Raises MissingPackage without
    onnxruntime, InvalidModel when onnxruntime cannot load or run the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackage(
            "comparing needs onnxruntime: pip install 'qcompile[bench]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # its complaints arrive as exceptions
    runnable = _runnable(model)
    session = _asking(
        model,
        lambda: onnxruntime.InferenceSession(runnable, options, providers=["CPUExecutionProvider"]),
    )
    return lambda inputs: list(_asking(model, lambda: session.run(None, inputs)))


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
