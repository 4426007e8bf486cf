"""Ask ONNX's own checker and its shape inference whether a model contradicts itself.

The checker looks at each node by itself, because it asks more of graphs than ONNX Runtime does and
than real files hold. The inference looks at a skeleton: the model with its large initializers
turned into inputs of the same type and shape, so that weights are neither copied nor limited to
2 GB; models with operators of other domains go without it.
"""

import math
from collections.abc import Mapping

import onnx
from onnx import helper

from qcompile.errors import InvalidModel
from qcompile.frontend.shapes import declared_shape, real_inputs
from qcompile.frontend.validate import STANDARD_DOMAINS, describe, standard_opset, subgraphs

NOT_INFERRED = ("MeanVarianceNormalization",)  # the inference of ONNX 1.23 refuses its own body
SMALL = 1024  # elements of initializers that stay: shapes, axes, bounds

Shapes = Mapping[str, tuple[int, ...]]


def check_consistent(model: onnx.ModelProto, shapes: Shapes) -> None:
    """Raises InvalidModel with the finding of ONNX's checker or of its shape inference.

    `shapes`: those of the real inputs. Where they are not the file's own, shapes that the file
    declares elsewhere are not held against it.
    """
    imports = {entry.domain: entry.version for entry in model.opset_import}
    imports.setdefault("", standard_opset(model))
    context = onnx.checker.C.CheckerContext()
    context.ir_version = max(model.ir_version, 4)
    _check_nodes(model.graph, context, imports)
    if not _inferable(model.graph):
        return
    skeleton = _skeleton(model, shapes, imports)
    try:
        onnx.shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True)
    except Exception as error:  # InferenceError, and others for damaged types
        raise InvalidModel(f"ONNX's shape inference: {_one_line(error)}") from error


def _inferable(graph: onnx.GraphProto) -> bool:
    """Whether ONNX knows every operator; behind others it takes the lack of a type for an error."""
    return all(
        node.domain in STANDARD_DOMAINS
        and node.op_type not in NOT_INFERRED
        and all(_inferable(inner) for inner in subgraphs(node))
        for node in graph.node
    )


def _check_nodes(
    graph: onnx.GraphProto, context: onnx.checker.C.CheckerContext, imports: dict[str, int]
) -> None:
    for node in graph.node:
        imports.setdefault(node.domain, 1)
        context.opset_imports = imports
        bare = node
        if subgraphs(node):
            bare = onnx.NodeProto()
            bare.CopyFrom(node)
            for inner in subgraphs(bare):
                inner.CopyFrom(onnx.GraphProto(name="checked apart"))
        try:
            onnx.checker.check_node(bare, context)
        except Exception as error:  # ValidationError, and others for damaged types
            message = f"{describe(node)}: ONNX's checker: {_one_line(error)}"
            raise InvalidModel(message) from error
        # ONNX's inference allocates as many results as the attribute says.
        claimed = [a.i for a in node.attribute if a.name == "num_outputs"]
        if any(count != len(node.output) for count in claimed):
            raise InvalidModel(f"{describe(node)}: num_outputs {claimed}, {len(node.output)} named")
        for inner in subgraphs(node):
            _check_nodes(inner, context, imports)


def _skeleton(
    model: onnx.ModelProto, shapes: Shapes, imports: Mapping[str, int]
) -> onnx.ModelProto:
    graph = onnx.GraphProto(name=model.graph.name or "graph")
    graph.node.extend(model.graph.node)
    for value in real_inputs(model.graph):
        elem_type = value.type.tensor_type.elem_type
        graph.input.append(helper.make_tensor_value_info(value.name, elem_type, shapes[value.name]))
    for tensor in model.graph.initializer:
        dims = list(tensor.dims)
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, dims))
        if math.prod(dims) <= SMALL:
            graph.initializer.append(tensor)
    own = {value.name: declared_shape(value).extents for value in real_inputs(model.graph)}
    unchanged = all(own[name] == shape for name, shape in shapes.items())
    for value in model.graph.output:
        if unchanged:
            graph.output.append(value)
        else:
            elem_type = value.type.tensor_type.elem_type
            graph.output.append(helper.make_tensor_value_info(value.name, elem_type, None))
    if unchanged:
        graph.value_info.extend(model.graph.value_info)
    return helper.make_model(
        graph,
        ir_version=max(model.ir_version, 4),
        opset_imports=[helper.make_opsetid(*entry) for entry in imports.items()],
    )


def _one_line(error: Exception) -> str:
    """The first error; what follows it is the model's text, or errors that it caused."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
