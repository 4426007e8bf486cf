"""From an assignment of widths to the quantized model, and to its accuracy on labelled data."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from qcompile.arrays import accuracy
from qcompile.errors import InvalidInput
from qcompile.files import write_whole
from qcompile.quantizer import QuantizeOptions, quantize_network
from qcompile.search.loop.material import Assignment, Material
from qcompile.search.loop.points import FLOAT
from qcompile.search.loop.store import Store


class Workshop:
    """Makes models and measures their accuracy, each once: the store keeps both."""

    def __init__(self, material: Material, store: Store) -> None:
        self.material = material
        self.store = store

    def model(self, name: str, bits: Assignment | None) -> Path:
        """The ONNX file of an assignment, quantized in full quality; None: the float model."""
        if bits is None:
            return self.material.request.model
        path = self.store.path(f"models/{name}.onnx")
        if not path.is_file():
            options = QuantizeOptions(bits=dict(bits))
            found = quantize_network(
                self.material.request.model, self.material.calibration, options
            )
            write_whole(path, found.model.SerializeToString())
        return path

    def own_model(self, name: str, made: Callable[[Path], Path]) -> Path:
        """The ONNX file that `made` writes to the path that it is given, once."""
        path = self.store.path(f"models/{name}.onnx")
        if not path.is_file():
            with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
                shutil.copy(made(Path(folder) / "model.onnx"), path)
        return path

    def accuracy(self, name: str, model: Path, scales: str, bundle: Path | None = None) -> float:
        """Of the model with these scales (qcompile.scales) on the labelled samples, as a share.

        bundle: the model compiled for this machine, where that is done: it computes the same
        integers as the program for any other target. Raises InvalidInput when the outputs are no
        classification.
        """
        key = f"accuracy/{name}-{scales}"
        known = self.store.read(key)
        if known is not None:
            return float(known["accuracy"])
        found = self._compiled(model, scales) if bundle is None else self._measured(bundle)
        self.store.write(key, {"accuracy": found, "samples": self.material.labelled.count})
        return found

    def float_accuracy(self) -> float:
        return self.accuracy(FLOAT, self.material.request.model, "exact")

    def _compiled(self, model: Path, scales: str) -> float:
        from qcompile.commands.compile import compile

        with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
            compile(model, "host", Path(folder) / "bundle", scales=scales)
            return self._measured(Path(folder) / "bundle")

    def _measured(self, bundle: Path) -> float:
        from qcompile.bundle import load

        outputs = load(bundle).run_batches(self.material.labelled.inputs)
        found = accuracy(next(iter(outputs.values())), self.material.labels)
        if found is None:
            raise InvalidInput(
                f"{self.material.request.model}: its first output is no classification of the "
                f"{self.material.labelled.count} samples: a search needs one score for each class"
            )
        return found
