"""A float model on its way to the compiler: quantized to given widths first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qcompile.arrays import Array
from qcompile.commands.progress import Progress, silent
from qcompile.commands.quantize import quantize
from qcompile.errors import InvalidInput


@contextmanager
def narrowed(
    model: Path,
    bits: str | Path | Mapping[str, Any] | None,
    calibration: str | Path | Mapping[str, Array] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    progress: Progress | None,
) -> Iterator[Path]:
    """The file to compile: `model` itself without widths, else what it becomes at these.

    The quantized file lasts as long as the block. Raises InvalidInput when one of `bits` and
    `calibration` is given alone, and what `quantize` raises.
    """
    if bits is None and calibration is None:
        yield model
        return
    if bits is None or calibration is None:
        given, missing = ("calibration", "bits") if bits is None else ("bits", "calibration")
        raise InvalidInput(f"{given} without {missing}: widths need samples to be fitted to")
    with TemporaryDirectory(prefix="qcompile-") as folder:
        file = Path(folder) / model.name
        say = progress or silent
        quantize(model, file, calibration, bits=bits, shapes=shapes, progress=say)
        yield file
