"""Damaged, contradictory and hostile files: one clear error each, never anything else."""

import itertools
import os

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import model_of

from qcompile.errors import InvalidModel, QCompileError, Unsupported
from qcompile.frontend import import_onnx


def network() -> onnx.ModelProto:
    """QDQ convolution, shape computation, Gemm: most of what the importer does, in little."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=0),
        helper.make_node("Conv", ["d", "dw"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["shape"]),
        helper.make_node("Gather", ["shape", "i"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["u"]),
        helper.make_node("Concat", ["u", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["p", "target"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"], "gemm", transB=1),
    ]
    constants = {
        "s": np.float32(0.1),
        "z": np.int8(3),
        "w": np.ones((4, 2, 3, 3), "int8"),
        "sw": np.full(4, 0.1, "float32"),
        "zw": np.zeros(4, "int8"),
        "i": np.int64(0),
        "axes": np.int64([0]),
        "minus": np.int64([-1]),
        "g": np.ones((3, 16), "float32"),
    }
    inputs = {"x": ("FLOAT", ["N", 2, 4, 4])}
    return model_of(nodes, inputs, {"y": ("FLOAT", ["N", 3])}, constants)


NETWORK = network().SerializeToString()
NUMBERS = [0, 1, -1, 2, 3, 7, 100, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63)]


def changed(**changes) -> onnx.ModelProto:
    """The network after `change(graph)`."""
    model = network()
    for change in changes.values():
        change(model.graph)
    return model


def attempt(path_or_model) -> None:
    """Import; only our own errors may come out, in one line of reasonable length."""
    try:
        import_onnx(path_or_model)
    except QCompileError as error:
        assert 0 < len(str(error)) < 4000


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(NETWORK) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    length=st.one_of(st.just(len(NETWORK)), st.integers(0, len(NETWORK))),
)
def test_survives_changed_bytes(tmp_path_factory, edits, length):
    data = bytearray(NETWORK)
    for position, value in edits:
        data[position] = value
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    path.write_bytes(bytes(data[:length]))
    attempt(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_survives_changed_fields(data):
    model = network()
    for _ in range(data.draw(st.integers(1, 3))):
        change_field(model.graph, data.draw)
    attempt(model)


def change_field(graph, draw):
    """Change an attribute, a dimension, an initializer, an operator or a name."""
    kind = draw(st.sampled_from(["attribute", "input", "tensor", "operator", "name"]))
    node = draw(st.sampled_from(list(graph.node)))
    number = draw(st.sampled_from(NUMBERS))
    if kind == "attribute" and node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        if attribute.ints:
            attribute.ints[draw(st.integers(0, len(attribute.ints) - 1))] = number
        else:
            attribute.i = number
    elif kind == "input":
        graph.input[0].type.tensor_type.shape.dim[draw(st.integers(0, 3))].dim_value = number
    elif kind == "tensor":
        tensor = draw(st.sampled_from(list(graph.initializer)))
        if tensor.dims:
            tensor.dims[0] = number
        tensor.data_type = draw(st.sampled_from([tensor.data_type, *range(28)]))
    elif kind == "operator":
        node.op_type = draw(st.sampled_from([each.op_type for each in graph.node] + ["Loop", "?"]))
    elif node.input:
        names = [name for each in graph.node for name in (*each.input, *each.output)]
        index = draw(st.integers(0, len(node.input) - 1))
        node.input[index] = draw(st.sampled_from([*names, "", "?"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"not a model at all, just some text", "no ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "no ONNX file"),
        (NETWORK[: len(NETWORK) // 2], "no ONNX file|nothing computes|the graph is empty"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
    ],
)
def test_names_the_file(tmp_path, content, message):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match=rf"broken\.onnx: .*({message})"):
        import_onnx(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_refuses_what_is_no_regular_file(tmp_path, kind):
    path = tmp_path / "odd.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InvalidModel, match=r"odd\.onnx: cannot be read: not a regular file"):
        import_onnx(path)


def test_refuses_files_that_protobuf_cannot_read(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(Unsupported, match=r"huge\.onnx: files above 2 GiB.*external data"):
        import_onnx(path)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(InvalidModel, match=r"absent\.onnx"):
        import_onnx(tmp_path / "absent.onnx")


def rename(graph, index, name):
    graph.node[index].output[0] = name


def set_dims(name, *dims):
    def change(graph):
        tensor = next(t for t in graph.initializer if t.name == name)
        tensor.dims[:] = dims

    return change


def set_attribute(index, name, value):
    def change(graph):
        node = graph.node[index]
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def drop(index, name):
    def change(graph):
        kept = [a for a in graph.node[index].attribute if a.name != name]
        del graph.node[index].attribute[:]
        graph.node[index].attribute.extend(kept)

    return change


def set_input(index, position, name):
    return lambda graph: graph.node[index].input.__setitem__(position, name)


WRONG = {
    "cycle": (set_input(3, 0, "r"), r"Conv 'conv' waits for its own result|cycle"),
    "undefined": (set_input(4, 0, "nowhere"), "Relu .* reads 'nowhere', which nothing computes"),
    "repeated": (lambda g: rename(g, 5, "r"), "computes 'r', which exists already"),
    "no output": (lambda g: g.output[0].__setattr__("name", "z9"), "nothing computes the output"),
    "two outputs": (lambda g: g.output.append(g.output[0]), "two outputs are called 'y'"),
    "two tensors": (lambda g: g.initializer.append(g.initializer[0]), "two initializers"),
    "no nodes": (lambda g: g.ClearField("node"), "the graph is empty"),
    "huge": (set_dims("w", 2**40, 2**40, 1, 1), "at most 2\\^31"),
    "negative": (set_dims("w", -4, 2, 3, 3), "negative dimension"),
    "too little data": (set_dims("w", 400, 2, 3, 3), "needs 7200 bytes and has 72"),
    "too much data": (set_dims("w", 2, 2, 3, 3), "needs 36 bytes and has 72"),
    "channels": (set_dims("w", 2, 4, 3, 3), "4 scales along axis 0"),
    "missing attribute": (drop(5, "kernel_shape"), "kernel_shape"),
    "no stride": (set_attribute(5, "strides", [0, 1]), "strides|shape inference"),
    "wrong pads": (set_attribute(3, "pads", [1, 1]), "pads|shape inference"),
    "wrong axis": (set_attribute(2, "axis", 7), "axis"),
    "unknown attribute": (set_attribute(4, "slope", 0.5), "slope"),
    "text for a number": (set_attribute(3, "group", "two"), "group"),
    "gemm": (set_dims("g", 4, 12), "Gemm|shape inference"),
}


@pytest.mark.parametrize("name", WRONG)
def test_says_what_is_wrong(name):
    change, message = WRONG[name]
    with pytest.raises(InvalidModel, match=message):
        import_onnx(changed(change=change))


def test_sorts_nodes():
    def reverse(graph):
        nodes = list(graph.node)[::-1]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)

    assert import_onnx(changed(change=reverse)).layers == ("conv", "gemm")


@pytest.mark.parametrize("domain", ["foo.bar", "ai.onnx.ml", "com.microsoft"])
def test_never_takes_a_foreign_operator_for_a_standard_one(domain):
    model = changed(change=lambda graph: graph.node[4].__setattr__("domain", domain))
    with pytest.raises(Unsupported, match=f"{domain}::Relu"):
        import_onnx(model)


def test_names_the_known_operators_of_qonnx():
    def change(graph):
        graph.node[4].op_type, graph.node[4].domain = "FloatQuant", "qonnx.custom_op.general"

    with pytest.raises(Unsupported, match=r"FloatQuant .*of this domain BipolarQuant, IntQuant"):
        import_onnx(changed(change=change))


@pytest.mark.parametrize("kind", ["STRING", "FLOAT8E4M3FN", "COMPLEX64", "BFLOAT16", "INT4"])
def test_refuses_inputs_of_other_types(kind):
    def change(graph):
        graph.input[0].type.tensor_type.elem_type = getattr(TensorProto, kind)

    with pytest.raises((Unsupported, InvalidModel), match=kind):
        import_onnx(changed(change=change))


def test_refuses_sequences():
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["y"])
    model = model_of([node], {"x": ("FLOAT", [2])}, {"y": ("FLOAT", None)})
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kind))
    with pytest.raises(Unsupported, match="sequence"):
        import_onnx(model)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ConstantOfShape", ["big"], ["y"])],
        [helper.make_node("Range", ["zero", "end", "one"], ["y"])],
        [helper.make_node("Tile", ["many", "big"], ["y"])],
        [helper.make_node("Expand", ["many", "big"], ["y"])],
        [helper.make_node("OneHot", ["many", "end", "many"], ["y"])],
    ],
)
def test_stays_small_when_asked_for_much(nodes):
    """Neither memory nor time for results that a file of a few bytes asks for."""
    constants = {
        "big": np.int64([2**20, 2**20]),
        "many": np.int64([[1, 2]]),
        "zero": np.int64(0),
        "end": np.int64(2**62),
        "one": np.int64(1),
    }
    used = {k: v for k, v in constants.items() if any(k in node.input for node in nodes)}
    kind = "FLOAT" if nodes[0].op_type == "ConstantOfShape" else "INT64"
    nodes = [*nodes, helper.make_node("Identity", ["x"], ["z"])]
    outputs = {"y": (kind, None), "z": ("FLOAT", [2])}
    with pytest.raises(QCompileError):
        import_onnx(model_of(nodes, {"x": ("FLOAT", [2])}, outputs, used))


def doubling(steps):
    names = ["c", *(f"c{i}" for i in range(steps))]
    pairs = itertools.pairwise(names)
    return [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairs], names[-1]


def chain(op, steps, **attributes):
    names = ["c", *(f"c{i}" for i in range(steps))]
    pairs = itertools.pairwise(names)
    return [helper.make_node(op, [a], [b], **attributes) for a, b in pairs], names[-1]


@pytest.mark.parametrize(
    ("made", "constant"),
    [
        (doubling(20), np.zeros(2**10, "float32")),
        (chain("Relu", 3000), np.zeros(2**20, "float32")),
        (chain("Transpose", 3000), np.zeros((2**10, 2**10), "float32")),
        (([helper.make_node("Mul", ["c", "r"], ["m"])], "m"), np.zeros((2**16, 1), "float32")),
    ],
)
def test_computes_little_at_compile_time(made, constant):
    nodes, last = made
    constants = {"c": constant} | ({"r": np.zeros((1, 2**16), "float32")} if last == "m" else {})
    nodes = [*nodes, helper.make_node("ReduceMax", [last], ["top"])]
    nodes.append(helper.make_node("Add", ["x", "top"], ["y"]))
    with pytest.raises(Unsupported, match="constant"):
        import_onnx(model_of(nodes, {"x": ("FLOAT", [1])}, {"y": ("FLOAT", None)}, constants))


def external(tmp_path, location, offset=0, length=12, dims=(3,)):
    """A model file whose tensor lies in another file; `location` is what it claims."""
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = model_of(
        nodes, {"x": ("FLOAT", [3])}, {"y": ("FLOAT", [3])}, {"w": np.float32([1] * 3)}
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = dims
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_reads_external_data(tmp_path):
    path = external(tmp_path, "weights.bin", offset=4)
    (path.parent / "weights.bin").write_bytes(np.float32([9, 1, 2, 3]).tobytes())
    imported = import_onnx(path)
    assert imported.inputs[0].shape == (3,)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", "C:\\secret.bin", "", "\\x"],
)
def test_refuses_external_data_outside(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    with pytest.raises(InvalidModel, match="beside"):
        import_onnx(external(tmp_path, location))


def test_refuses_links_that_lead_out(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    path = external(tmp_path, "link.bin")
    os.symlink(tmp_path / "secret.bin", path.parent / "link.bin")
    with pytest.raises(InvalidModel, match="outside"):
        import_onnx(path)


def test_refuses_external_data_that_is_no_file(tmp_path):
    path = external(tmp_path, "pipe.bin")
    os.mkfifo(path.parent / "pipe.bin")
    with pytest.raises(InvalidModel, match=r"'pipe\.bin' is not a regular file"):
        import_onnx(path)


def test_names_the_tensor_of_an_unknown_type():
    tensor = helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [1], b"\x00", raw=True)
    node = helper.make_node("DequantizeLinear", ["w", "s"], ["y"], name="weights")
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.5])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [], [output], [tensor, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    with pytest.raises(Unsupported, match=r"tensor 'w': .*FLOAT8E4M3FN; known are .*UINT8"):
        import_onnx(model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"length": 16}, "needs bytes 0 to 16"),
        ({"offset": 8}, "needs bytes 8 to 20"),
        ({"offset": -4}, "offset is '-4'"),
        ({"length": "many"}, "length is 'many'"),
        ({"length": 8}, "needs 12 bytes"),
        ({"dims": (2**40,)}, r"at most 2\^31"),
    ],
)
def test_refuses_external_data_that_does_not_fit(tmp_path, given, message):
    path = external(tmp_path, "weights.bin", **given)
    (path.parent / "weights.bin").write_bytes(bytes(12))
    with pytest.raises(InvalidModel, match=message):
        import_onnx(path)
