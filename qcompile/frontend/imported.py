"""The entry to the importer, and what it hands over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from tvm import relax
from tvm.ir import IRModule

from qcompile.errors import InvalidModel, QCompileError
from qcompile.frontend.converters import QONNX_DOMAINS, check_known
from qcompile.frontend.importer import build_module
from qcompile.frontend.load import load_model, model_name
from qcompile.frontend.qonnx_annotations import check_annotations
from qcompile.frontend.shapes import real_inputs, static_shapes
from qcompile.frontend.skeleton import check_consistent
from qcompile.frontend.validate import standard_opset


@dataclass(frozen=True)
class TensorSpec:
    """An input or output, by its name in the ONNX file; dtype as NumPy calls it."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ImportedModel:
    """A model in quantized form: `mod["main"]` takes the inputs and returns the outputs in order.

    `layers` are the variables that hold the results of contractions: the names of their ONNX
    nodes, or `<OpType>_<k>`.
    """

    mod: IRModule
    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    layers: tuple[str, ...]


def import_onnx(
    model: str | Path | onnx.ModelProto,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> ImportedModel:
    """The model with every shape fixed.

    An open first dimension of an input becomes `batch` (1 by default), `shapes` gives whole shapes
    by input name. Raises InvalidModel, Unsupported or InvalidInput; the message names file, node
    and cause.
    """
    try:
        loaded = load_model(model)
        fixed = static_shapes(loaded.graph, batch, shapes or {})
        check_known(loaded.graph)
        check_consistent(loaded, fixed)
        opset = standard_opset(loaded)
        mod, layers = build_module(loaded.graph, opset, fixed)
        check_annotations(loaded.graph, QONNX_DOMAINS)
    except QCompileError as error:
        raise type(error)(f"{_where(model)}: {error}") from error
    except RecursionError as error:
        raise InvalidModel(f"{_where(model)}: functions or graphs nest too deeply") from error
    main = mod["main"]
    names = [value.name for value in real_inputs(loaded.graph)]
    results = _results(main)
    return ImportedModel(
        mod=mod,
        name=model_name(model),
        inputs=tuple(_spec(n, p.ty) for n, p in zip(names, main.params, strict=True)),
        outputs=tuple(
            _spec(v.name, ty) for v, ty in zip(loaded.graph.output, results, strict=True)
        ),
        opset=opset,
        layers=tuple(layers),
    )


def _where(model: str | Path | onnx.ModelProto) -> str:
    return "the model" if isinstance(model, onnx.ModelProto) else str(model)


def _results(main: relax.Function) -> list[relax.TensorType]:
    return list(main.ret_ty.fields) if isinstance(main.ret_ty, relax.TupleType) else [main.ret_ty]


def _spec(name: str, ty: relax.TensorType) -> TensorSpec:
    return TensorSpec(name, str(ty.dtype), tuple(int(extent) for extent in ty.shape))
