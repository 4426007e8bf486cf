"""Whole networks: what is written, and what it computes."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qcompile.commands.reference import load_tensors
from qcompile.quantizer import QuantizeOptions, Widths, bits_of, quantize_network, simulate
from tests.qcompile.quantizer.float_networks import Graph, chain, dense, residual

pytest.importorskip("onnxruntime")
NETWORKS = {"chain": chain, "residual": residual, "dense": dense}
WIDTHS = [Widths(8, 8), Widths(4, 4), Widths(2, 3), Widths(1, 1)]


def reference(model, data):
    return load_tensors(model, "test")(data)[model.graph.output[0].name]


def noise(found, wanted):
    return float(np.square(found - wanted).mean() / wanted.var())


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_written_model_computes_what_was_simulated(name, widths):
    graph, model = NETWORKS[name]()
    found = quantize_network(model, graph.data(), QuantizeOptions(widths, first_last=None))
    data = graph.data(40)

    ours = simulate(found, data)[model.graph.output[0].name]
    theirs = reference(found.model, data)

    assert found.dialect == ("QDQ" if widths == Widths(8, 8) else "QONNX")
    # A value on a tie rounds either way in sums of another order, and biases of QDQ are integers.
    apart = np.abs(ours - theirs).max(axis=1) / reference(model, data).std(axis=0).mean()
    assert np.median(apart) < 1e-3
    assert (apart < 0.05).mean() >= 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_bits_keep_the_results(name):
    graph, model = NETWORKS[name]()
    found = quantize_network(model, graph.data(400))  # few that are not seen lie out of range
    data = graph.data(100)
    assert noise(reference(found.model, data), reference(model, data)) < 1e-3


@pytest.mark.parametrize("name", ["chain", "residual"])
def test_fitting_beats_rounding_each_weight_for_itself(name):
    graph, model = NETWORKS[name]()
    calibration, data = graph.data(400), graph.data(100)
    wanted = reference(model, data)
    errors = {}
    for rounding in ("hessian", "nearest"):
        options = QuantizeOptions(Widths(3, 8), rounding=rounding)
        found = quantize_network(model, calibration, options)
        errors[rounding] = noise(reference(found.model, data), wanted)
    assert errors["hessian"] < 0.7 * errors["nearest"]


def test_biases_leave_no_mean_error():
    graph, model = chain()
    data = graph.data(200)
    found = quantize_network(model, data, QuantizeOptions(Widths(3, 8), rounding="nearest"))
    wanted, got = (load_tensors(m, "test")(data) for m in (model, found.model))
    means = [v["v5"].mean(axis=(0, 2, 3)) for v in (wanted, got)]  # of the layer `point`
    np.testing.assert_allclose(means[0], means[1], atol=1e-4)


@pytest.mark.parametrize("opset", [9, 17])
def test_folds_batch_normalization(opset):
    graph = Graph((3, 6, 6))
    y = graph.conv("x", 3, 8, bias=False, name="layer")
    statistics = [graph.normal(8) + 1, graph.normal(8), graph.normal(8), graph.normal(8) ** 2 + 1]
    y = graph.node("BatchNormalization", y, *(graph.constant(array) for array in statistics))
    model, data = graph.model(y, opset), graph.data()
    found = quantize_network(model, data)
    assert "BatchNormalization" not in {node.op_type for node in found.model.graph.node}
    assert noise(reference(found.model, data), reference(model, data)) < 2e-3


def test_names_layers_as_the_manifest_does():
    graph, model = dense()
    found = quantize_network(model, graph.data())
    assert [layer.name for layer in found.layers] == ["MatMul_0", "MatMul_1", "Gemm_0"]
    written = {node.name for node in found.model.graph.node}
    assert {"MatMul_0", "MatMul_1", "Gemm_0"} <= written


def test_first_and_last_layers_keep_eight_bits():
    graph, model = chain()
    found = quantize_network(model, graph.data(), QuantizeOptions(Widths(3, 4)))
    widths = {layer.name: (layer.w_bits, layer.a_bits) for layer in found.layers}
    assert widths == {"first": (8, 8), "depthwise": (3, 4), "point": (3, 4), "last": (8, 8)}


def test_bits_name_single_layers_and_others_keep_eight():
    graph, model = chain()
    bits = bits_of({"layers": {"first": {"w": 2, "a": 5}, "point": {"w": 1}}})
    found = quantize_network(model, graph.data(), QuantizeOptions(bits=bits))
    widths = {layer.name: (layer.w_bits, layer.a_bits) for layer in found.layers}
    assert widths == {"first": (2, 5), "depthwise": (8, 8), "point": (1, 8), "last": (8, 8)}


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_lie_on_a_grid_of_their_bits(bits):
    graph, model = chain()
    options = QuantizeOptions(bits={"point": Widths(bits, 8)})
    found = quantize_network(model, graph.data(), options)
    weights = quantized_weights(found.model, "point").reshape(12, -1)
    for row in weights:
        codes = row / np.abs(row[row != 0]).min() if row.any() else row
        assert len(np.unique(np.round(codes, 3))) <= 2**bits


def test_one_scale_for_all_channels_is_one_number():
    graph, model = chain()
    options = QuantizeOptions(Widths(4, 4), channels_per_scale=None)
    found = quantize_network(model, graph.data(), options)
    scales = [t for t in found.model.graph.initializer if t.name.endswith("weights_scale")]
    assert [numpy_helper.to_array(tensor).size for tensor in scales] == [1] * 4


def test_channels_of_a_group_share_their_scale():
    graph, model = chain()
    options = QuantizeOptions(Widths(4, 4), channels_per_scale=4)
    found = quantize_network(model, graph.data(), options)
    (scale,) = [t for t in found.model.graph.initializer if t.name == "point_weights_scale"]
    groups = numpy_helper.to_array(scale).reshape(3, 4)
    assert (groups == groups[:, :1]).all() and len(np.unique(groups)) == 3


def test_equal_adds_have_one_scale_for_both_operands():
    graph, model = residual()
    options = QuantizeOptions(Widths(4, 4), equal_adds=True)
    found = quantize_network(model, graph.data(), options)
    makers = {node.output[0]: node for node in found.model.graph.node}
    constants = {t.name: numpy_helper.to_array(t) for t in found.model.graph.initializer}
    adds = [node for node in found.model.graph.node if node.op_type == "Add"]
    assert len(adds) == 2
    for add in adds:
        quantizers = [makers[name] for name in add.input]
        assert {node.op_type for node in quantizers} == {"Quant"}
        assert len({float(constants[node.input[1]]) for node in quantizers}) == 1
        assert len({str(node.attribute) for node in quantizers}) == 1


def test_equalizing_changes_no_result_and_evens_ranges():
    from qcompile.quantizer.equalize import equalize
    from qcompile.quantizer.network import load_network
    from qcompile.quantizer.operators import compute

    graph, model = chain()
    wild = model.graph.initializer[0]
    array = numpy_helper.to_array(wild) * np.exp2(np.arange(8) - 4)[:, None, None, None]
    wild.CopyFrom(numpy_helper.from_array(array.astype("float32"), wild.name))
    network, data = load_network(model), graph.data(3)

    def run(network):
        values = {**network.constants, **data}
        for node in network.nodes:
            layer = network.layer(node)
            found = layer(values[layer.input]) if layer else None
            if found is None:
                (found,) = compute(node, [values[name] for name in node.input], network.opset)
            values[node.output[0]] = found
        return values[network.outputs[0]]

    evened = equalize(network)

    np.testing.assert_allclose(run(evened), run(network), rtol=1e-5, atol=1e-6)
    before, after = (
        np.abs(next(iter(each.layers.values())).weights).max(axis=1) for each in (network, evened)
    )
    assert np.log2(after).std() < 0.7 * np.log2(before).std()


def test_quantizers_move_before_poolings_that_keep_order():
    graph, model = chain()
    found = quantize_network(model, graph.data(), QuantizeOptions(Widths(4, 4)))
    makers = {node.output[0]: node.op_type for node in found.model.graph.node}
    (pool,) = [node for node in found.model.graph.node if node.op_type == "MaxPool"]
    assert makers[pool.input[0]] == "Quant"


def test_concatenated_values_share_a_scale():
    graph = Graph((3, 6, 6))
    branches = [graph.node("Relu", graph.conv("x", 3, 4, name=name)) for name in ("a", "b")]
    x = graph.node("Concat", *branches, axis=1)
    model = graph.model(graph.conv(x, 8, 5, name="last"))
    found = quantize_network(model, graph.data())
    constants = {t.name: numpy_helper.to_array(t) for t in found.model.graph.initializer}
    makers = {node.output[0]: node for node in found.model.graph.node}
    (concat,) = [node for node in found.model.graph.node if node.op_type == "Concat"]
    scales = {float(constants[makers[name].input[1]]) for name in concat.input}
    assert len(scales) == 1


def test_a_model_of_one_sample_a_run_takes_many():
    graph = Graph((3, 6, 6))
    x = graph.node("Relu", graph.conv("x", 3, 4, name="first"))
    x = graph.node("Reshape", x, graph.constant(np.array([1, 144])))
    model = graph.model(graph.gemm(x, 144, 5, name="last"), batch=1)
    found = quantize_network(model, graph.data(7), QuantizeOptions(Widths(4, 4)))
    assert found.samples == 7
    onnx.checker.check_model(found.model)


def quantized_weights(model, layer):
    """The values of a layer's quantized weights."""
    graph = Graph((3, 8, 8))
    (node,) = [node for node in model.graph.node if node.name == layer]
    return load_tensors(model, "test")(graph.data(1))[node.input[1]]
