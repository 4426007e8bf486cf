import numpy as np
import pytest
from onnx import helper

from qcompile.commands.qonnx_expansion import expand_qonnx
from tests.acceptance.qonnx_cut import cut_at_quantizers
from tests.qcompile.frontend.onnx_models import model_of, reference

DOMAIN = "qonnx.custom_op.general"
X = np.linspace(-3, 3, 24, dtype="float32").reshape(2, 3, 4, 1)
CONSTANTS = {
    "s": np.float32(0.3),
    "z": np.float32(0),
    "b": np.float32(4),
    "t": np.array([[-1.0, 0.0, 0.5]], "float32"),
    "w": np.float32([[[0.4]], [[-0.8]], [[1.3]]]),
}
FIRST = {
    "Quant": (["s", "z", "b"], {"rounding_mode": "FLOOR"}),
    "BipolarQuant": (["s"], {}),
    "MultiThreshold": (["t"], {"out_scale": 0.25, "out_bias": -0.5}),
    "Trunc": (["s", "z", "b", "b"], {}),
}


def network(operator):
    """y = first(x); the weights' quantizer; the output is quantized too."""
    inputs, attributes = FIRST[operator]
    nodes = [
        helper.make_node(operator, ["x", *inputs], ["y"], domain=DOMAIN, **attributes),
        helper.make_node("Quant", ["w", "s", "z", "b"], ["v"], domain=DOMAIN),
        helper.make_node("Mul", ["y", "v"], ["p"]),
        helper.make_node("Quant", ["p", "s", "z", "b"], ["o"], domain=DOMAIN),
    ]
    outputs = {"o": ("FLOAT", X.shape)}
    return model_of(nodes, {"x": ("FLOAT", X.shape)}, outputs, CONSTANTS)


def of_names(model, inputs):
    results = reference(expand_qonnx(model), inputs)
    return dict(zip([output.name for output in model.graph.output], results, strict=True))


@pytest.mark.parametrize("operator", FIRST)
def test_layers_run_on_given_values(operator):
    model = network(operator)
    shown = network(operator)
    shown.graph.output.append(helper.make_tensor_value_info("y", 1, X.shape))
    values = of_names(shown, {"x": X})

    cut, given = cut_at_quantizers(model, values)
    assert given == {"y_given": "y", "o_given": "o"}
    inputs = {"x": X, **{name: values[tensor] for name, tensor in given.items()}}
    found = of_names(cut, inputs)
    assert found.keys() == {"o", "y"}
    for name, array in found.items():
        np.testing.assert_array_equal(array, values[name])

    # The second layer reads what it is given, not what the first one makes.
    inputs["y_given"] = -values["y"] if operator == "BipolarQuant" else values["y"][:, ::-1]
    changed = of_names(cut, inputs)
    np.testing.assert_array_equal(changed["y"], values["y"])
    assert (changed["o"] != values["o"]).any()
