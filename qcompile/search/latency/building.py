"""Networks that are quick to make: their times are those of the widths, whatever the values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qcompile.analysis import LayerFacts
from qcompile.arrays import Array
from qcompile.compiler import compile_model
from qcompile.errors import InvalidInput
from qcompile.passes.choose_kernels import kernel_name
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network
from qcompile.search.latency.choice import Assignment, Choice
from qcompile.search.latency.circumstances import numbers_matter
from qcompile.targets import Target, VtaTarget

CHOOSABLE = ("int8", "packed", "bits")
HOPELESS = 3.0  # times as long as another kernel: no table errs by so much


@dataclass(frozen=True)
class Asked:
    """What a network is to be: widths of all layers, and kernels where the costs do not decide."""

    widths: Mapping[str, Widths]
    kernels: Mapping[str, str]

    @classmethod
    def of(cls, assignment: Assignment, target: Target | VtaTarget) -> "Asked":
        widths = {name: choice.widths for name, choice in assignment.items()}
        return cls(widths, kernels_of(assignment, target))


def kernels_of(assignment: Assignment, target: Target | VtaTarget) -> dict[str, str]:
    """What `compile_model` takes as `kernels` to make this network.

    Layers that have one kernel are left out, and so are all on a board with VTA.
    """
    if isinstance(target, VtaTarget):
        return {}
    names = {name: kernel_name(choice.kernel) for name, choice in assignment.items()}
    return {name: kernel for name, kernel in names.items() if kernel in CHOOSABLE}


@dataclass(frozen=True)
class Built:
    """A bundle, what its layers took, and the kernels that each could have."""

    bundle: Path
    assignment: Mapping[str, Choice]
    possible: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Workshop:
    """options: of the quantizer; those that times do not depend on are left out."""

    model: Path
    target: Target | VtaTarget
    calibration: Mapping[str, Array]
    options: QuantizeOptions
    records: Path | None
    shapes: Mapping[str, Sequence[int]] | None

    def build(self, asked: Asked, folder: Path) -> Built:
        """The network that is asked for, as a bundle in the folder. Raises QCompileError."""
        options = replace(self.options, bits=dict(asked.widths))
        if not numbers_matter(self.target):
            options = replace(options, rounding="nearest", correct_bias=False)
        quantized = quantize_network(self.model, self.calibration, options, shapes=self.shapes)
        file, bundle = folder / "network.onnx", folder / "bundle"
        file.write_bytes(quantized.model.SerializeToString())
        compiled = compile_model(
            file,
            self.target,
            output=bundle,
            name="network",
            shapes=self.shapes,
            records=self.records,
            kernels=asked.kernels,
        )
        facts = {layer.name: layer for layer in compiled.analysis.layers}
        if missing := [name for name in asked.widths if name not in facts]:
            raise InvalidInput(f"layer '{missing[0]}': the compiled network has no such layer")
        assignment, possible = {}, {}
        for name, widths in asked.widths.items():
            layer = facts[name]
            assignment[name] = Choice(widths.weights, widths.activations, layer.kernel)
            possible[name] = _possible(layer)
        return Built(bundle, assignment, possible)


def _possible(layer: LayerFacts) -> tuple[str, ...]:
    """The layer's kernels, but for those that the table of costs gives no hope."""
    times = {each["kernel"]: each["predicted_us"] for each in layer.choices if not each["reason"]}
    least = min((time for time in times.values() if time is not None), default=0.0)
    hopeful = {k for k, time in times.items() if time is None or time <= HOPELESS * least}
    return tuple(sorted(hopeful | {layer.kernel}))
