"""Layers beside onnxruntime's, in every format; and layers that were compiled wrongly."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qcompile.compiler import compile_model
from qcompile.layerwise import compare, compare_layers, summary
from qcompile.targets import host_features, load_target
from tests.qcompile.layerwise.networks import NETWORKS, qdq, qonnx, samples

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")

BITS = ("dense_bits", "dense_int8")


@pytest.fixture
def compared(tmp_path):
    """The agreements of a model on the samples."""

    def run(model, runs=None):
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return compare_layers(path, runs or samples(), load_target("host"), tmp_path)

    return run


@pytest.fixture
def wrongly(monkeypatch):
    """Have the compiler read another model: `change` gets the nodes and constants, by name."""

    def install(change):
        def compile_changed(path, target, *, output, progress):
            model = onnx.load(path)
            nodes = {node.name: node for node in model.graph.node}
            constants = {tensor.name: tensor for tensor in model.graph.initializer}
            change(nodes, constants)
            onnx.save(model, path)
            return compile_model(path, target, output=output, progress=progress)

        monkeypatch.setattr(compare, "compile_model", compile_changed)

    return install


def overwrite(constants, name, change):
    array = numpy_helper.to_array(constants[name])
    constants[name].CopyFrom(numpy_helper.from_array(change(array.copy()), name))


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_the_reference(name, compared):
    layers = compared(NETWORKS[name]())
    assert all(layer.agrees for layer in layers)
    assert [x for layer in layers for x in layer.layers] == ["product0", "product1", "product2"]
    assert all(kernel in BITS for layer in layers for kernel in layer.kernels)
    assert [layer.codes for layer in layers] == [True] * (len(layers) - 1) + [False]
    assert sum(layer.elements for layer in layers if layer.codes) >= 3 * (6 + 8 + 8)
    assert len(layers) == (5 if name == "qoperator" else 4)
    assert "agree;" in summary(layers)


@pytest.mark.parametrize("name", ["qonnx", "qcdq", "qdq"])
def test_finds_the_layer_with_a_wrong_weight(name, compared, wrongly):
    def change(nodes, constants):
        def flip(array):
            array[:, 2] = -array[:, 2] - (0 if array.dtype.kind == "f" else 1)
            return array

        overwrite(constants, nodes["w1"].input[0], flip)

    wrongly(change)
    runs = samples(20)
    layers = compared(NETWORKS[name](), runs)
    wrong = [layer for layer in layers if not layer.agrees]
    assert [layer.layers for layer in wrong] == [("product1",)]
    first = wrong[0].first
    assert first.index[-1] == 2 and first.ours != first.reference
    assert first.tie > 1e-3 or abs(first.ours - first.reference) > 1
    assert "DISAGREE" in summary(layers) and wrong[0].disagreeing <= wrong[0].different
    others = [layer for layer in layers if layer is not wrong[0]]
    assert all(layer.different == 0 for layer in others if layer.codes)


def test_finds_codes_that_round_the_other_way_at_no_tie(compared, wrongly):
    """A few percent more in front of a quantizer: codes differ by one, but not at ties."""

    def change(nodes, constants):
        (factor,) = (n.input[1] for n in nodes.values() if n.op_type == "Mul")
        overwrite(constants, factor, lambda value: value * np.float32(1.05))

    wrongly(change)
    layers = compared(qonnx(), samples(20))
    (wrong,) = (layer for layer in layers if not layer.agrees)
    assert (wrong.layers, wrong.difference) == (("product0",), 1) and wrong.tie > 1e-2


def test_forgives_ties(compared, wrongly):
    """Ties round up in ours, to even in the reference."""

    def change(nodes, constants):
        (rounding,) = (a for a in nodes["Quant_0"].attribute if a.name == "rounding_mode")
        rounding.s = b"HALF_UP"

    model = qonnx()
    quantizer = next(node for node in model.graph.node if node.name == "Quant_0")
    quantizer.attribute.append(onnx.helper.make_attribute("rounding_mode", "ROUND"))
    wrongly(change)
    x = np.float32([[0.5, 1.5, 2.5, -0.5, -1.5, 3]]) / 16
    quant, *others = compared(model, [{"x": x * 0}, {"x": x}])
    assert (quant.different, quant.difference, quant.tie, quant.agrees) == (3, 1, 0, True)
    assert (quant.first.sample, quant.first.index) == (1, (0, 0))
    assert (quant.first.ours, quant.first.reference, quant.first.tie) == (1, 0, 0)
    assert all(layer.different == 0 for layer in others if layer.codes)


def test_finds_wrong_floats(compared, wrongly):
    def change(nodes, constants):
        overwrite(constants, nodes["w2"].input[1], lambda scale: scale * np.float32(1.01))

    wrongly(change)
    (wrong,) = (layer for layer in compared(qdq()) if not layer.agrees)
    assert (wrong.layers, wrong.codes, wrong.first.tie) == (("product2",), False, None)
    assert wrong.first.ours == pytest.approx(1.01 * wrong.first.reference)


def test_compiles_large_networks_in_parts(compared, monkeypatch):
    monkeypatch.setattr(compare, "PART", 2)
    layers = compared(qdq())
    assert all(layer.agrees for layer in layers)
    assert [x for layer in layers for x in layer.layers] == ["product0", "product1", "product2"]


def test_counts_samples_over_batches(compared, wrongly):
    model = qdq()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4

    def change(nodes, constants):
        overwrite(constants, nodes["QuantizeLinear_0"].input[1], lambda scale: scale * 2)

    wrongly(change)
    x = np.zeros((2, 4, 6), "float32")
    x[1, 2] = 0.25
    layers = compared(model, [{"x": run} for run in x])
    first = layers[0].first
    assert (first.sample, first.index, first.ours, first.reference) == (6, (2, 0), 10, 12)
