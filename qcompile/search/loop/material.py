"""What a search works on: the float network, its data, and the widths that each layer may take."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qcompile.arrays import Array, Samples, TensorSpec, read_samples
from qcompile.errors import InvalidInput
from qcompile.frontend.shapes import static_shapes
from qcompile.frontend.tensors import io_dtype
from qcompile.quantizer import Widths
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import Network, load_network
from qcompile.quantizer.operators import compute
from qcompile.quantizer.placement import first_and_last
from qcompile.search.loop.request import Request
from qcompile.widths import MOST_BITS

CALIBRATION_SAMPLES = 1000  # of the labelled data, where there are no others
Assignment = Mapping[str, Widths]


@dataclass(frozen=True)
class LayerWork:
    """One layer: its weights, its multiply-adds for one sample, and the value that it reads."""

    name: str
    weights: int
    macs: int
    reads: str


@dataclass(frozen=True)
class Material:
    """The float network, labelled samples, calibration inputs, and what each layer may take.

    borrowed: whether the calibration inputs are the labelled ones, without their labels.
    """

    request: Request
    network: Network
    labelled: Samples
    calibration: Mapping[str, Array]
    borrowed: bool
    layers: tuple[LayerWork, ...]
    choices: Mapping[str, tuple[Widths, ...]]

    @property
    def labels(self) -> Array:
        assert self.labelled.labels is not None
        return self.labelled.labels

    def uniform(self, widths: Widths) -> dict[str, Widths]:
        """Every layer that may take these widths takes them, the others their only ones."""
        return {
            name: widths if widths in choices else choices[0]
            for name, choices in self.choices.items()
        }

    def weight_bytes(self, bits: Assignment) -> int:
        """Of the packed weights of all layers."""
        return sum(-(-layer.weights * bits[layer.name].weights // 8) for layer in self.layers)

    def bit_operations(self, bits: Assignment) -> int:
        """BOPS: multiply-adds times the widths of both operands, of one sample."""
        widths = ((layer.macs, bits[layer.name]) for layer in self.layers)
        return sum(macs * each.weights * each.activations for macs, each in widths)

    def sharing(self) -> list[list[str]]:
        """Names of layers that read the same value, and so share the width of their input."""
        readers: dict[str, list[str]] = defaultdict(list)
        for layer in self.layers:
            readers[layer.reads].append(layer.name)
        return [names for names in readers.values() if len(names) > 1]


def read_material(request: Request, *, free_ends: bool = False) -> Material:
    """The model and the data of a request. Raises QCompileError where they do not fit.

    free_ends: the first and the last layers may take all widths, too, instead of 8 bits alone.
    """
    network = fold(load_network(request.model))
    labelled = read_samples(request.data, _specs(network))
    if labelled.labels is None:
        raise InvalidInput(
            f"{request.data}: holds no labels; a search measures accuracy: add the array `y`, one "
            "class number for each sample"
        )
    _expect_finite(str(request.data), labelled)
    if request.calibration is not None:
        samples = read_samples(request.calibration, _specs(network))
        _expect_finite(str(request.calibration), samples)
        calibration = samples.inputs
    else:
        calibration = {n: a[:CALIBRATION_SAMPLES] for n, a in labelled.inputs.items()}
    layers = _layers(network, {name: array[:1] for name, array in calibration.items()})
    pairs = [Widths(w, a) for w in request.bits for a in request.bits]
    ends = set() if free_ends else first_and_last(network)
    choices = {
        layer.name: (Widths(MOST_BITS, MOST_BITS),) if layer.name in ends else tuple(pairs)
        for layer in layers
    }
    borrowed = request.calibration is None
    return Material(request, network, labelled, calibration, borrowed, tuple(layers), choices)


def _specs(network: Network) -> list[TensorSpec]:
    fixed = static_shapes(network.model.graph, None, {})
    return [
        TensorSpec(v.name, str(io_dtype(v.type.tensor_type.elem_type, v.name)), fixed[v.name])
        for v in network.inputs
    ]


def _expect_finite(path: str, samples: Samples) -> None:
    for name, array in samples.inputs.items():
        if not np.isfinite(array).all():
            raise InvalidInput(f"{path}: {name!r} holds values that are no finite numbers")


def _layers(network: Network, inputs: Mapping[str, Array]) -> list[LayerWork]:
    """Every layer; one sample is run through the network for the sizes."""
    values: dict[str, Array] = {**network.constants, **inputs}
    found = []
    for node in network.nodes:
        layer = network.layer(node)
        if layer is None:
            arguments = [values[name] if name else None for name in node.input]
            values.update(zip(node.output, compute(node, arguments, network.opset), strict=True))
            continue
        result = values[layer.output] = layer(values[layer.input])
        macs = result.size * layer.weights.shape[1]
        found.append(LayerWork(layer.name, layer.weights.size, macs, layer.input))
    return found
