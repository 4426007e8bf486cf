"""Compile an ONNX file to a bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompile.arrays import Array
from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.narrowed import narrowed
from qcompile.commands.progress import Progress
from qcompile.targets import Target, VtaTarget, load_target


def compile(
    model: str | Path,
    target: str | Target | VtaTarget,
    output: str | Path,
    *,
    name: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    quantized_io: bool = False,
    scales: str | None = None,
    threads: int = 1,
    bits: str | Path | Mapping[str, Any] | None = None,
    calibration: str | Path | Mapping[str, Array] | None = None,
    records: str | Path | None = None,
    variants: str | Path | None = None,
    dump_ir: str | Path | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Compile the ONNX file `model` for `target` into the folder `output`; what was made.

    `batch` and `shapes` fill dimensions that the model leaves open. `name` prefixes the C names.
    With `quantized_io` inputs and outputs are integer codes. `scales` are `exact` or
    `power-of-two` (qcompile.scales; by default the first, and the second for boards with VTA).
    A float model is first quantized (qcompile.quantize) to the widths of `bits`, a bits.json or its
    content, fitted to the samples `calibration`, a file or arrays by name; neither goes alone.
    Kernels are chosen by the tuning records in the folder `records`, and those that ship, as far as
    they are of so many `threads`, which `run` and `bench` then use by default. The JSON
    file `variants` names more networks for the bundle (qcompile.variants). Raises QCompileError;
    `output` is then as it was.
    """
    from qcompile.compiler import compile_model

    target = load_target(target) if isinstance(target, str) else target
    if bits is not None:
        from qcompile.export.folder import expect_replaceable

        expect_replaceable(Path(output))  # before the long work
    with narrowed(Path(model), bits, calibration, shapes, progress) as file:
        compile_model(
            file,
            target,
            output=Path(output),
            name=name,
            batch=batch,
            shapes=shapes,
            quantized_io=quantized_io,
            scales=scales,
            threads=threads,
            records=records,
            variants=variants,
            dump_ir=dump_ir,
            progress=progress,
        )
    return read_manifest(output)
