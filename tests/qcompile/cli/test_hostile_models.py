"""Damaged and hostile ONNX files end in one message: no traceback, no crash, no hang."""

import os
import random
import signal
from importlib.resources import files

import onnx
import pytest
from onnx import TensorProto

from qcompile.commands.demo import NETWORKS
from qcompile.compiler import analyze
from qcompile.errors import QCompileError
from qcompile.targets import load_target

GOOD = (files("qcompile") / "demo_data" / NETWORKS["int8"]).read_bytes()
LONGEST_S = 20
MUTANTS = 100
REFUSED, FAILED = 1, 7
SIZES = [0, -1, 1, 2, 3, 7, 2**31, 2**40, 2**62]
REALS = [float("nan"), float("inf"), 0.0, -1e-3, 1e38, 1e-45]
OPERATORS = [
    *("Relu", "Conv", "Gemm", "MatMul", "Add", "Softmax", "Foo", "Loop", "If", "Reshape", "Pad"),
    *("QuantizeLinear", "DequantizeLinear", "MaxPool", "Concat", "Transpose", "NonZero", "Clip"),
    *("Split", "Gather", "Resize"),
]


def flip_bytes(rng, model):
    """Any bytes, most of them in the structure at the front."""
    content = bytearray(model.SerializeToString())
    for _ in range(rng.choice([1, 2, 20])):
        content[rng.randrange(min(len(content), rng.choice([6000, len(content)])))] = 255
    return bytes(content)


def drop_node(rng, model):
    del model.graph.node[rng.randrange(len(model.graph.node))]


def drop_initializer(rng, model):
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def rewire(rng, model):
    """An input from anywhere: cycles, wrong types, names of nothing."""
    node = rng.choice([node for node in model.graph.node if node.input])
    names = [name for each in model.graph.node for name in each.output]
    names += [tensor.name for tensor in model.graph.initializer] + ["", "nothing"]
    node.input[rng.randrange(len(node.input))] = rng.choice(names)


def drop_input(rng, model):
    node = rng.choice([node for node in model.graph.node if node.input])
    del node.input[rng.randrange(len(node.input))]


def rename_output(rng, model):
    names = [name for node in model.graph.node for name in node.output]
    rng.choice(model.graph.node).output[0] = rng.choice([*names, ""])


def change_operator(rng, model):
    rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def resize_initializer(rng, model):
    tensor = rng.choice([tensor for tensor in model.graph.initializer if tensor.dims])
    tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)


def retype_initializer(rng, model):
    rng.choice(model.graph.initializer).data_type = rng.choice([*range(24), 99])


def spoil_scale(rng, model):
    scales = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    tensor = rng.choice(scales)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[rng.randrange(array.size)] = rng.choice(REALS)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def change_attribute(rng, model):
    nodes = [node for node in model.graph.node if node.attribute]
    attribute = rng.choice(rng.choice(nodes).attribute)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
    elif rng.random() < 0.5:
        attribute.i = rng.choice(SIZES)
    else:
        attribute.type = rng.randrange(12)


def resize_input(rng, model):
    rng.choice(model.graph.input[0].type.tensor_type.shape.dim).dim_value = rng.choice(SIZES)


MUTATIONS = [
    *(flip_bytes, drop_node, drop_initializer, rewire, drop_input, rename_output, change_operator),
    *(resize_initializer, retype_initializer, spoil_scale, change_attribute, resize_input),
]


def mutant(seed):
    """A model with one to three things wrong."""
    rng = random.Random(seed)
    model = onnx.load_from_string(GOOD)
    for _ in range(rng.choice([1, 1, 2, 3])):
        content = rng.choice(MUTATIONS)(rng, model)
        if content is not None:
            return content
    return model.SerializeToString()


def analyze_in_child(path, target):
    """0: taken; 1: refused with a QCompileError; else what became of the process."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_S)
        try:
            analyze(path, target)
            code = 0
        except QCompileError as error:
            code = REFUSED if str(error).startswith(str(path)) else FAILED
        except BaseException:
            code = FAILED
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("part", range(4))
def test_one_message_for_whatever_is_wrong(tmp_path, part):
    path, target = tmp_path / "model.onnx", load_target("x86-64-v3")
    ends = {}
    for seed in range(part, MUTANTS, 4):
        path.write_bytes(mutant(seed))
        ends[seed] = analyze_in_child(path, target)
    assert {seed: end for seed, end in ends.items() if end not in (0, REFUSED)} == {}
    assert REFUSED in ends.values()


def test_the_model_itself_is_taken(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD)
    assert analyze_in_child(path, load_target("x86-64-v3")) == 0
