"""Quantize a float ONNX file after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.files import expect_writable, write_whole

if TYPE_CHECKING:
    from qcompile.quantizer import QuantizedLayer, QuantizeOptions
    from qcompile.quantizer.distillation import Distilled
    from qcompile.quantizer.fine_tuning import FineTuning


@dataclass(frozen=True)
class Quantization:
    """What was written to `path`: "QDQ" where all widths are 8, else "QONNX".

    `distilled`: the calibration data where they were made from the network itself.
    `fine_tuning`: its steps, and the losses before and after, where it was asked for.
    """

    path: Path
    dialect: str
    layers: tuple[QuantizedLayer, ...]
    samples: int
    seconds: float
    distilled: Distilled | None = None
    fine_tuning: FineTuning | None = None

    @property
    def weight_bytes(self) -> int:
        """Of the layers' weights at their widths, packed."""
        return sum(-(-layer.weights * layer.w_bits // 8) for layer in self.layers)

    @property
    def float_bytes(self) -> int:
        """Of the same weights as float32."""
        return 4 * sum(layer.weights for layer in self.layers)


def quantize(
    model: str | Path,
    output: str | Path,
    calibration: str | Path | Mapping[str, Array] | None = None,
    *,
    weights: int | None = None,
    activations: int | None = None,
    bits: str | Path | Mapping[str, Any] | None = None,
    options: QuantizeOptions | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = silent,
) -> Quantization:
    """Quantize the float ONNX file `model` into the file `output`; what was done to each layer.

    `calibration`: inputs without labels, as a file (.npz or .npy) or arrays by name; see
    qcompile.arrays. Without it data are distilled from the statistics of BatchNormalization nodes,
    where the model still has them. `weights` and `activations` are the widths of all layers but the
    first and the last, `bits` (a bits.json or its content) those of single layers; `options` say
    the rest, and these three override its widths. `shapes` fill dimensions that the model leaves
    open. Raises QCompileError; `output` is then as it was.
    """
    from qcompile.errors import InvalidInput
    from qcompile.quantizer import QuantizeOptions, Widths, bits_of, quantize_network, read_bits

    expect_writable(output)
    options = options or QuantizeOptions()
    if bits is not None and (weights is not None or activations is not None):
        raise InvalidInput("widths are given twice: by bits, and by weights or activations")
    if bits is not None:
        read = bits_of(bits) if isinstance(bits, Mapping) else read_bits(bits)
        options = replace(options, bits=read)
    else:
        widths = Widths(
            options.widths.weights if weights is None else weights,
            options.widths.activations if activations is None else activations,
        )
        options = replace(options, widths=widths)
    found = quantize_network(model, calibration, options, shapes=shapes, progress=progress)
    write_whole(output, found.model.SerializeToString())
    facts = found.dialect, found.layers, found.samples, found.seconds
    return Quantization(Path(output), *facts, found.distilled, found.fine_tuning)
