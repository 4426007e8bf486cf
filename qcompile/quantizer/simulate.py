"""Run a quantized network in NumPy, float32, as the written model computes."""

from collections.abc import Mapping

from qcompile.quantizer.grid import Array
from qcompile.quantizer.operators import compute
from qcompile.quantizer.quantize import QuantizedNetwork


def simulate(quantized: QuantizedNetwork, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name. inputs: by name, of one batch."""
    network, found = quantized.network, quantized.calibrated
    values = {**network.constants, **inputs}
    for node in network.nodes:
        arguments = [values[name] if name else None for name in node.input]
        for k, argument in enumerate(arguments):
            place = quantized.places.get((node.output[0], k))
            if place is not None and argument is not None:
                arguments[k] = found.quantizers[place](argument)
        fitted = found.layers.get(node.output[0])
        if fitted is not None:
            assert arguments[0] is not None
            values[fitted.layer.output] = fitted.layer(arguments[0])
        else:
            values.update(zip(node.output, compute(node, arguments, network.opset), strict=True))
    return {name: values[name] for name in network.outputs}
