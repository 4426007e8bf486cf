"""What `quantize` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcompile.cli.tables import count, kibibytes, percent, print_table, printable

if TYPE_CHECKING:
    from qcompile.commands.quantize import Quantization


def show_quantization(found: Quantization) -> None:
    """One line for each layer, and what was written."""
    rows = [
        [
            layer.name,
            layer.op,
            str(layer.w_bits),
            str(layer.a_bits),
            count(layer.weights),
            percent(layer.noise),
        ]
        for layer in found.layers
    ]
    print_table(["layer", "operator", ">w bits", ">a bits", ">weights", ">noise"], rows)
    sizes = f"{kibibytes(found.weight_bytes)} of weights (float32: {kibibytes(found.float_bytes)})"
    print(f"\n{sizes}; {found.samples:,} samples, {found.seconds:.1f} s")
    if found.distilled is not None:
        before, after = found.distilled.noise_loss, found.distilled.loss
        print(
            "no calibration data: these samples were distilled from BatchNormalization statistics "
            f"(distance of noise {before:.4g}, of the samples {after:.4g})"
        )
    if (told := found.fine_tuning) is not None:
        verdict = "fine-tuned" if told.kept else "fine-tuning brought nothing and was left out"
        print(
            f"{verdict}: loss {told.before:.4f} before, {told.after:.4f} after {told.steps:,} steps"
        )
    print(printable(f"wrote {found.path} ({found.dialect})"))
