"""Small ONNX models for tests, and onnxruntime as the oracle of what they compute."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tvm
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from qcompile.frontend import ImportedModel, import_onnx

Arrays = dict[str, NDArray]
SHARED_MODELS = Path(__file__).parents[4] / "shared" / "data" / "models"
ORT_IR_VERSION = 10  # onnxruntime does not read the newest yet


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[int | str]]],
    outputs: Mapping[str, tuple[str, Sequence[int | str] | None]],
    constants: Mapping[str, NDArray | onnx.TensorProto] | None = None,
    opset: int = 21,
    microsoft: bool = False,
) -> onnx.ModelProto:
    """A model; inputs and outputs map names to (TensorProto type name, shape)."""

    def info(name: str, spec: tuple[str, Sequence[int | str] | None]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, getattr(TensorProto, spec[0]), spec[1])

    tensors = []
    for name, value in (constants or {}).items():
        tensor = value
        if not isinstance(value, onnx.TensorProto):
            tensor = numpy_helper.from_array(np.asarray(value))
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = name
        tensors.append(copy)
    graph = helper.make_graph(
        list(nodes),
        "small",
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid("com.microsoft", 1)] if microsoft else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=ORT_IR_VERSION)


def packed(values: Sequence[int], shape: Sequence[int], kind: str) -> onnx.TensorProto:
    """A tensor of a sub-byte type: INT4, UINT4, INT2 or UINT2."""
    return helper.make_tensor("packed", getattr(TensorProto, kind), shape, list(values))


def reference(model: onnx.ModelProto, feeds: Arrays) -> list[NDArray]:
    """What onnxruntime computes, its graph optimizations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, feeds)


def executed(imported: ImportedModel, feeds: Arrays) -> list[NDArray]:
    """What TVM's virtual machine computes of the imported module."""
    machine = relax.VirtualMachine(tvm.compile(imported.mod, "llvm"), tvm.cpu())
    arguments = [tvm.runtime.tensor(feeds[spec.name]) for spec in imported.inputs]
    result = machine["main"](*arguments)
    results = [result] if len(imported.outputs) == 1 else list(result)
    return [each.numpy() for each in results]


def random_feeds(imported: ImportedModel, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    feeds = {}
    for spec in imported.inputs:
        if spec.dtype.startswith("float"):
            feeds[spec.name] = rng.normal(0, 1, spec.shape).astype(spec.dtype)
        elif spec.dtype == "bool":
            feeds[spec.name] = rng.integers(0, 2, spec.shape).astype(bool)
        else:
            limits = np.iinfo(spec.dtype)
            low, high = max(limits.min, -1000), min(limits.max, 1000)
            feeds[spec.name] = rng.integers(low, high + 1, spec.shape, dtype=spec.dtype)
    return feeds


def agrees(
    model: onnx.ModelProto,
    feeds: Arrays | None = None,
    steps: float = 0,
    part: float = 1e-4,
    **options,
) -> ImportedModel:
    """Import the model, and hold it against onnxruntime on `feeds` or random inputs.

    Integer outputs may differ by `steps`, float outputs by a `part` of their range; 1e-4 is the
    error of sums in another order.
    """
    imported = import_onnx(model, **options)
    feeds = feeds or random_feeds(imported)
    expected, found = reference(model, feeds), executed(imported, feeds)
    for spec, want, have in zip(imported.outputs, expected, found, strict=True):
        assert have.shape == want.shape == spec.shape
        assert have.dtype == want.dtype == np.dtype(spec.dtype)
        if want.dtype.kind == "f":
            allowed = part * max(float(np.ptp(want)) if want.size else 0.0, 1e-2)
            np.testing.assert_allclose(have, want, rtol=0, atol=allowed)
        else:
            distance = np.abs(have.astype("int64") - want.astype("int64"))
            assert distance.max(initial=0) <= steps
    return imported


def calls(imported: ImportedModel) -> list[tvm.ir.Call]:
    """The operator calls of main, in order."""
    bindings = [b for block in imported.mod["main"].body.blocks for b in block.bindings]
    return [b.value for b in bindings if isinstance(b.value, tvm.ir.Call)]


def operators(imported: ImportedModel) -> list[str]:
    return [str(call.op.name) for call in calls(imported)]


def variables(imported: ImportedModel) -> dict[str, relax.Expr]:
    """What main's variables are bound to, by name."""
    bindings = [b for block in imported.mod["main"].body.blocks for b in block.bindings]
    return {str(b.var.name): b.value for b in bindings}
