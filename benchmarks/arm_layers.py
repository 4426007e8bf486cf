"""ResNet-18's 3x3 layers alone on modelled ARM cores: codes in, codes out, packing included.

Each is the convolution with the thresholds that make its codes, as a network of such layers has it;
`arm_model.py` prints them beside whole networks, whose layers also carry residual streams.
"""

from collections import defaultdict
from collections.abc import Sequence

from results import Table

from qcompile.measure.layers import INT8_BITS, convolution
from qcompile.measure.modelled import modelled_seconds
from qcompile.measure.samples import measure
from qcompile.model_device.limits import bit_limit, int8_limit
from qcompile.passes.kernel_work import LayerShape, Work, bits_work, int8_work
from qcompile.targets import Target

SIZES = {
    "3x3, 64, 56x56": (56, 64, 64),
    "3x3, 128, 28x28": (28, 128, 128),
    "3x3, 256, 14x14": (14, 256, 256),
    "3x3, 512, 7x7": (7, 512, 512),
}
# (bits of data, of weights)
WIDTHS = {"int8": INT8_BITS, "W1A1": (1, 1), "W1A2": (2, 1), "W2A2": (2, 2)}


def alone_table(targets: Sequence[Target]) -> Table:
    """The share of its core's limit that each layer reaches on its kernel."""
    found = [shares(target) for target in targets]
    rows = [
        [f"{widths}, {size}", *(f"{own[size, widths]:.0%}" for own in found)]
        for widths in WIDTHS
        for size in SIZES
    ]
    columns = ["layer", *(f"{target.name}: of the limit" for target in targets)]
    return Table("3x3 layers alone, codes to codes, MODEL", columns, rows)


def shares(target: Target) -> dict[tuple[str, str], float]:
    """The cycles of the limit over the modelled ones, by size and widths."""
    layers = {
        (size, widths): convolution(*shape, bits)
        for size, shape in SIZES.items()
        for widths, bits in WIDTHS.items()
    }
    cycles: dict[Work, float] = defaultdict(float)
    for sample in measure(layers.values(), target, modelled_seconds):
        cycles[sample.work] += sample.seconds * target.clock_hz
    return {
        key: limit_cycles(layer, target) / cycles[_work(layer, target)]
        for key, layer in layers.items()
    }


def limit_cycles(layer: LayerShape, target: Target) -> float:
    """The cycles of the layer's multiplications alone."""
    outputs, height, width, inputs = layer.w
    macs = layer.x[1] * layer.x[2] * outputs * height * width * inputs
    if (layer.data_bits, layer.weight_bits) == INT8_BITS:
        return macs / int8_limit(target)
    return macs * layer.data_bits * layer.weight_bits / bit_limit(target)


def _work(layer: LayerShape, target: Target) -> Work:
    int8 = (layer.data_bits, layer.weight_bits) == INT8_BITS
    return int8_work(layer, target) if int8 else bits_work(layer, target)
