"""Random small QONNX networks through the whole pipeline, against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from tvm import relax

from qcompile.commands.qonnx_expansion import expand_qonnx
from qcompile.frontend import import_onnx
from qcompile.pipeline import pipeline
from qcompile.targets import load_target
from tests.acceptance.qonnx_cut import cut_at_quantizers
from tests.acceptance.qonnx_graphs import random_network

SEEDS = st.integers(0, 2**32 - 1)
IN_CI, IN_FULL = 25, 1000
# Float error of a layer: sums of up to 2^7 terms and their normalization, of the largest value.
FLOAT_ERROR = 2.0**-17


def compiled(model, inputs):
    """The outputs of the compiled network, by name."""
    imported = import_onnx(model)
    target = load_target("host").tvm_target()
    library = tvm.compile(imported.mod, target, relax_pipeline=pipeline())
    arguments = [tvm.runtime.tensor(inputs[spec.name]) for spec in imported.inputs]
    result = relax.VirtualMachine(library, tvm.cpu())["main"](*arguments)
    results = [result] if len(imported.outputs) == 1 else list(result)
    pairs = zip(imported.outputs, results, strict=True)
    return {spec.name: array.numpy() for spec, array in pairs}


def every_tensor(model, inputs):
    """What onnxruntime computes for every tensor of `model`."""
    expanded = expand_qonnx(model)
    declared = {value.name for value in (*expanded.graph.output, *expanded.graph.input)}
    names = [n for node in expanded.graph.node for n in node.output]
    shown = [helper.make_empty_tensor_value_info(n) for n in names if n not in declared]
    expanded.graph.output.extend(shown)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(expanded.SerializeToString(), options)
    return {**inputs, **dict(zip(names, session.run(names, inputs), strict=True))}


def assert_equal(seed):
    """All values are exact: no code and no output differs."""
    model, x = random_network(seed, exact=True)
    values = every_tensor(model, {"x": x})
    for name, found in compiled(model, {"x": x}).items():
        np.testing.assert_array_equal(found, values[name])


def assert_ties_alone_differ(seed):
    """Every layer on the reference's inputs: where codes differ, its value lay on a tie."""
    model, x = random_network(seed, exact=False)
    values = every_tensor(model, {"x": x})
    cut, given = cut_at_quantizers(model, values)
    inputs = {"x": x, **{name: values[tensor] for name, tensor in given.items()}}
    found = compiled(cut, inputs)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.output[0] not in found:
            continue
        ours, theirs = found[node.output[0]], values[node.output[0]]
        if node.output[0] not in given.values():
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
            continue
        data = values[node.input[0]]
        distance = distances_to_ties(node, data.astype("float64"), constants)
        steps = np.abs(ours - theirs) > 1e-5 * np.abs(theirs).max()
        assert (distance[steps] <= FLOAT_ERROR * np.abs(data).max()).all(), node.op_type


def distances_to_ties(node: onnx.NodeProto, x, constants):
    """How far each value lies from where its code changes, in the values' unit."""
    if node.op_type == "BipolarQuant":
        return np.abs(x)
    if node.op_type == "MultiThreshold":
        thresholds = constants[node.input[1]]
        spread = (len(thresholds), *(1,) * (x.ndim - 2), thresholds.shape[1])
        return np.abs(x[..., None] - thresholds.reshape(spread)).min(axis=-1)
    scale, zero, bits = (constants[name].astype("float64") for name in node.input[1:])
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    v = x / scale + zero
    mode = attributes["rounding_mode"].decode().upper()
    if bits == 1 and attributes["signed"]:
        return np.abs(v) * scale
    if mode in ("CEIL", "FLOOR", "UP", "DOWN"):
        return np.abs(v - np.rint(v)) * scale
    return np.abs(v - np.floor(v) - 0.5) * scale


@settings(max_examples=IN_CI, derandomize=True, deadline=None)
@given(SEEDS)
def test_exact_networks(seed):
    assert_equal(seed)


@pytest.mark.slow
@settings(max_examples=IN_FULL, deadline=None)
@given(SEEDS)
def test_many_exact_networks(seed):
    assert_equal(seed)


@settings(max_examples=IN_CI // 5, derandomize=True, deadline=None)
@given(SEEDS)
def test_networks_of_arbitrary_scales(seed):
    assert_ties_alone_differ(seed)


@pytest.mark.slow
@settings(max_examples=IN_FULL, deadline=None)
@given(SEEDS)
def test_many_networks_of_arbitrary_scales(seed):
    assert_ties_alone_differ(seed)
