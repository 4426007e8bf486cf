"""A float network at given widths, as VTA and its board's processor see it."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from qcompile.arrays import Array
from qcompile.lowering import Analysis, Dump, IntegerForm, Lowering
from qcompile.quantizer import QuantizedNetwork, QuantizeOptions, Widths, quantize_network
from qcompile.tuned import Sources
from qcompile.tvm_errors import register_errors

QUICK_SAMPLES = 50  # shapes and widths are what costs depend on, not on how numbers are rounded


@dataclass(frozen=True)
class FloatNetwork:
    """A float model, and samples that its ranges are taken from."""

    model: Path
    calibration: Mapping[str, Array]

    def quick(self, widths: Mapping[str, Widths]) -> QuantizedNetwork:
        """Quantized for what it costs, not for what it computes."""
        few = {name: array[:QUICK_SAMPLES] for name, array in self.calibration.items()}
        options = QuantizeOptions(
            bits=widths, ranges="minmax", rounding="nearest", correct_bias=False
        )
        return quantize_network(self.model, few, options)

    def quantized(self, widths: Mapping[str, Widths]) -> QuantizedNetwork:
        """Quantized as well as can be."""
        return quantize_network(self.model, self.calibration, QuantizeOptions(bits=widths))


def lowering(scales: str, *, records: bool = False) -> Lowering:
    """The way of `compile`. records: with the tuning records that ship."""
    register_errors()
    return Lowering(None, None, False, scales, Sources.read(None) if records else Sources(()))


def integer_form(model: onnx.ModelProto, lower: Lowering) -> IntegerForm:
    """The quantized model on integers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return lower.integer_form(path, Dump(None), lambda what, step: None)


def processor_seconds(analysis: Analysis) -> dict[str, float | None]:
    """What each layer takes on the processor, as its table of costs predicts; None: unknown."""
    predicted = {
        layer.name: layer.choices[0]["predicted_us"] if layer.choices else None
        for layer in analysis.layers
    }
    return {name: None if us is None else 1e-6 * us for name, us in predicted.items()}
