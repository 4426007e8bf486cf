"""Shapes, names, control flow and functions of whole graphs."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import agrees, calls, executed, model_of, operators, variables

from qcompile.errors import InvalidInput, InvalidModel, Unsupported
from qcompile.frontend import TensorSpec, import_onnx

RNG = np.random.default_rng(0)


def node(op, inputs, outputs, name="", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name, **attributes)


def relu(shape, **options):
    model = model_of([node("Relu", "x", "y")], {"x": ("FLOAT", shape)}, {"y": ("FLOAT", None)})
    return import_onnx(model, **options)


@pytest.mark.parametrize("extent", ["N", 0, -1])
def test_sets_the_batch(extent):
    assert relu([extent, 3]).inputs == (TensorSpec("x", "float32", (1, 3)),)
    assert relu([extent, 3], batch=5).outputs == (TensorSpec("y", "float32", (5, 3)),)


def test_shapes_override():
    assert relu(["N", "C", 4], shapes={"x": (2, 3, 4)}).inputs[0].shape == (2, 3, 4)
    assert relu(None, shapes={"x": (2, 3)}).inputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        (["N", "C"], {}, Unsupported, r"'x' has an open dimension 'C'.*--shape x:1xSIZE"),
        (None, {}, Unsupported, r"'x' has no shape.*--shape x:1x3x224x224"),
        ([2, 3], {"batch": 4}, InvalidInput, "--batch: no input has an open first dimension"),
        (["N", 3], {"batch": 0}, InvalidInput, "--batch is 0"),
        (["N", 3], {"shapes": {"z": (1, 3)}}, InvalidInput, "--shape names 'z'; the inputs are x"),
        (["N", 3], {"shapes": {"x": (1,)}}, InvalidInput, "it has 2"),
        (["N", 3], {"shapes": {"x": (-1, 3)}}, InvalidInput, "negative"),
    ],
)
def test_asks_for_shapes(shape, options, error, message):
    with pytest.raises(error, match=message):
        relu(shape, **options)


def test_gives_dimensions_of_one_name_one_size():
    model = model_of(
        [node("Add", "x z", "y")],
        {"x": ("FLOAT", ["N", 3]), "z": ("FLOAT", ["N", 1])},
        {"y": ("FLOAT", ["N", 3])},
    )
    assert [spec.shape for spec in agrees(model, batch=4).inputs] == [(4, 3), (4, 1)]


def test_initializers_among_the_inputs_are_no_inputs():
    model = model_of(
        [node("Add", "x w", "y")],
        {"x": ("FLOAT", [3]), "w": ("FLOAT", [3])},
        {"y": ("FLOAT", [3])},
        {"w": np.ones(3, "float32")},
    )
    imported = import_onnx(model)
    assert [spec.name for spec in imported.inputs] == ["x"]
    assert len(imported.mod["main"].params) == 1


def test_keeps_the_names_of_inputs_and_outputs():
    model = model_of(
        [helper.make_node("Add", ["in/put:0", "in.put:0"], ["out-put"])],
        {"in/put:0": ("FLOAT", [2]), "in.put:0": ("FLOAT", [2])},
        {"out-put": ("FLOAT", [2])},
    )
    imported = agrees(model)
    assert [spec.name for spec in imported.inputs] == ["in/put:0", "in.put:0"]
    assert [p.name for p in imported.mod["main"].params] == ["in_put_0", "in_put_0_1"]
    assert imported.outputs[0].name == "out-put"


def test_returns_outputs_in_order_even_inputs_and_constants():
    model = model_of(
        [node("Relu", "x", "b"), node("Identity", "w", "c"), node("Identity", "x", "d")],
        {"x": ("FLOAT", [3])},
        {name: ("FLOAT", [3]) for name in "cbd"},
        {"w": np.float32([1, 2, 3])},
    )
    agrees(model)


def test_names_layers_by_nodes_or_by_type_and_number():
    weights = {"w": np.ones((2, 2, 1, 1), "float32"), "m": np.ones((4, 4), "float32")}
    nodes = [
        node("Conv", "x w", "a", "stem/conv.0"),
        node("Conv", "a w", "b"),
        node("Conv", "b w", "c", "Conv_3"),
        node("Conv", "c w", "d"),
        node("Conv", "d w", "e", "stem/conv.0"),
        node("MatMul", "e m", "f", "lv"),
    ]
    model = model_of(nodes, {"x": ("FLOAT", [1, 2, 4, 4])}, {"f": ("FLOAT", None)}, weights)
    imported = import_onnx(model)
    names = ("stem/conv.0", "Conv_1", "Conv_3", "Conv_3_1", "stem/conv.0_1", "lv")
    assert imported.layers == names
    assert len(variables(imported)) == len(calls(imported)) + 1  # the output; no name twice
    for name in names:
        assert variables(imported)[name].op.name in ("relax.nn.conv2d", "relax.matmul")


def test_folds_shape_computations():
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axes", "u"),
        node("Concat", "u minus", "target", axis=0),
        node("Reshape", "x target", "r"),
        node("Shape", "r", "s2", start=1),
        node("ConstantOfShape", "s2", "ones", value=numpy_helper.from_array(np.float32([1]))),
        node("Cast", "s2", "limit", to=TensorProto.INT64),
        node("Squeeze", "limit axes", "end"),
        node("Range", "zero end one", "range"),
        node("Cast", "range", "ramp", to=TensorProto.FLOAT),
        node("Add", "r ones", "a"),
        node("Add", "a ramp", "y"),
    ]
    constants = {"zero": np.int64(0), "one": np.int64(1), "axes": np.int64([0])}
    constants["minus"] = np.int64([-1])
    model = model_of(nodes, {"x": ("FLOAT", ["N", 2, 3])}, {"y": ("FLOAT", None)}, constants)
    imported = agrees(model, batch=4)
    assert operators(imported) == ["relax.reshape", "relax.add", "relax.add"]


def graph_of(nodes, inputs, outputs, **shapes):
    def infos(names):
        return [
            helper.make_tensor_value_info(name, getattr(TensorProto, kind), shapes.get(name))
            for name, kind in names.items()
        ]

    return helper.make_graph(nodes, "body", infos(inputs), infos(outputs))


def test_takes_the_branch_of_a_constant_condition():
    branches = {
        f"{name}_branch": graph_of([node(op, "x", f"{name}_y")], {}, {f"{name}_y": "FLOAT"})
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        node("Size", "x", "n"),
        node("Equal", "n six", "c"),
        node("If", "c", "y", **branches),
    ]
    for six, expected in ((6, "relax.nn.relu"), (5, "relax.negative")):
        constants = {"six": np.int64(six)}
        model = model_of(nodes, {"x": ("FLOAT", [2, 3])}, {"y": ("FLOAT", None)}, constants)
        assert operators(agrees(model)) == [expected]


def test_refuses_a_condition_on_data():
    branch = graph_of([node("Relu", "x", "b")], {}, {"b": "FLOAT"})
    other = graph_of([node("Neg", "x", "b2")], {}, {"b2": "FLOAT"})
    nodes = [node("If", "c", "y", "choice", then_branch=branch, else_branch=other)]
    inputs = {"x": ("FLOAT", [2]), "c": ("BOOL", [])}
    with pytest.raises(Unsupported, match="If 'choice': the condition depends on the data"):
        import_onnx(model_of(nodes, inputs, {"y": ("FLOAT", None)}))


def loop_model(count, layer=""):
    body = graph_of(
        [
            node("MatMul", "v w", "v2", layer),
            node("Identity", "going", "still"),
            node("Cast", "i", "f", to=TensorProto.FLOAT),
            node("Add", "v2 f", "row"),
        ],
        {"i": "INT64", "going": "BOOL", "v": "FLOAT"},
        {"still": "BOOL", "v2": "FLOAT", "row": "FLOAT"},
        i=[],
        going=[],
        v=[2, 3],
    )
    constants = {"n": np.int64(count), "w": RNG.normal(0, 0.5, (3, 3)).astype("float32")}
    outputs = {"y": ("FLOAT", None), "rows": ("FLOAT", None)}
    loop = helper.make_node("Loop", ["n", "", "x"], ["y", "rows"], "loop", body=body)
    return model_of([loop], {"x": ("FLOAT", [2, 3])}, outputs, constants)


def test_unrolls_loops():
    imported = agrees(loop_model(3, "product"))
    assert imported.layers == ("product", "product_1", "product_2")
    assert operators(imported).count("relax.matmul") == 3


def test_refuses_endless_loops():
    with pytest.raises(Unsupported, match="Loop 'loop': more than 1000 iterations"):
        import_onnx(loop_model(2**40))


def test_writes_functions_out():
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", "a a", "t"), node("Relu", "t", "b")],
        [helper.make_opsetid("", 21)],
    )
    call = helper.make_node("Twice", ["x"], ["y"], domain="local")
    model = model_of([call], {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert operators(agrees(model)) == ["relax.add", "relax.nn.relu"]


def explosive(depth):
    """Functions that each call the one before ten times."""
    model = model_of(
        [helper.make_node(f"F{depth}", ["x"], ["y"], domain="local")],
        {"x": ("FLOAT", [3])},
        {"y": ("FLOAT", [3])},
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    model.opset_import.append(opsets[1])
    for level in range(depth + 1):
        inner, domain = (f"F{level - 1}", "local") if level else ("Relu", "")
        chain = [
            helper.make_node(inner, [f"v{i}"], [f"v{i + 1}"], domain=domain) for i in range(10)
        ]
        model.functions.append(
            helper.make_function("local", f"F{level}", ["v0"], ["v10"], chain, opsets)
        )
    return model


def test_refuses_functions_that_explode():
    with pytest.raises(Unsupported, match="10000000000 nodes"):
        import_onnx(explosive(9))


def test_refuses_functions_that_call_themselves():
    model = explosive(1)
    model.functions[0].node[0].op_type = "F1"
    model.functions[0].node[0].domain = "local"
    with pytest.raises(InvalidModel, match="calls itself"):
        import_onnx(model)


def test_writes_standard_operators_out_that_are_functions():
    model = model_of([node("Celu", "x", "y")], {"x": ("FLOAT", [5])}, {"y": ("FLOAT", [5])})
    agrees(model)


def test_takes_paths_and_models(tmp_path):
    model = model_of([node("Relu", "x", "y")], {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])})
    onnx.save(model, tmp_path / "some net.onnx")
    for source in (tmp_path / "some net.onnx", str(tmp_path / "some net.onnx")):
        imported = import_onnx(source)
        assert imported.name == "some net"
    assert import_onnx(model).name == "small"
    assert imported.opset == 21
    np.testing.assert_array_equal(
        executed(imported, {"x": np.float32([-1, 0, 2])})[0], np.float32([0, 0, 2])
    )


def test_keeps_to_shapes_that_the_file_declares_only_for_its_own_inputs():
    model = model_of(
        [node("Flatten", "x", "y")], {"x": ("FLOAT", ["N", 2, 3])}, {"y": ("FLOAT", [1, 6])}
    )
    assert import_onnx(model, batch=3).outputs[0].shape == (3, 6)
    model = model_of(
        [node("Flatten", "x", "y")], {"x": ("FLOAT", [2, 2, 3])}, {"y": ("FLOAT", [1, 6])}
    )
    with pytest.raises(InvalidModel, match="shape inference"):
        import_onnx(model)
