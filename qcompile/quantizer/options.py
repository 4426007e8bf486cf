"""What a user may choose about quantizing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qcompile.errors import InvalidInput
from qcompile.widths import LEAST_BITS, MOST_BITS, RANGES, ROUNDINGS


@dataclass(frozen=True)
class Widths:
    """Bits of a layer's weights and of its input."""

    weights: int = 8
    activations: int = 8

    def __post_init__(self) -> None:
        for what, bits in (("weights", self.weights), ("activations", self.activations)):
            if type(bits) is not int or not LEAST_BITS <= bits <= MOST_BITS:
                raise InvalidInput(
                    f"{what} of {bits!r} bits; whole numbers from {LEAST_BITS} to {MOST_BITS} work"
                )


@dataclass(frozen=True)
class QuantizeOptions:
    """How the numbers are chosen; the default is what kept most accuracy.

    `widths`: of layers that nothing else speaks of. `first_last`: those of the layers that read an
    input or reach an output first; None treats them as any other. `bits`: by the layer's name,
    above both; once it names a layer, the layers that it does not name have 8 bits.
    `ranges`: of activations, and of weights that are rounded each for itself. `percentile`: of
    sizes, the share inside the range.
    `channels_per_scale`: output channels that share the weights' step; None: all of them.
    `rounding`: "nearest", or "hessian" after a refit of the weights to quantized inputs.
    `correct_bias`: biases take up the mean error. `equalize`: channels between two layers are
    scaled to like ranges where that changes no result. `equal_adds`: both operands of an addition
    have 8 bits and one scale, instead of the widths and scales that cost the least accuracy.
    `fine_tune`: so many steps of training against the float network follow, on the calibration
    data, without labels; 0: none. `vary_images`: in these, inputs of (N, C, H, W) are mirrored and
    moved a little at random.
    """

    widths: Widths = field(default_factory=Widths)
    first_last: int | None = 8
    bits: Mapping[str, Widths] = field(default_factory=dict)
    ranges: str = "mse"
    percentile: float = 99.99
    channels_per_scale: int | None = 1
    rounding: str = "hessian"
    correct_bias: bool = True
    equalize: bool = False
    equal_adds: bool = False
    fine_tune: int = 0
    vary_images: bool = True

    def __post_init__(self) -> None:
        if self.first_last is not None:
            Widths(self.first_last, self.first_last)
        for name, value, known in (
            ("ranges", self.ranges, RANGES),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if value not in known:
                raise InvalidInput(f"{name} is {value!r}; known are {', '.join(known)}")
        if type(self.fine_tune) is not int or self.fine_tune < 0:
            raise InvalidInput(f"fine_tune is {self.fine_tune!r}; whole numbers from 0 on work")
        if not 50 <= self.percentile <= 100:
            raise InvalidInput(f"percentile is {self.percentile}; it lies from 50 to 100")
        if self.channels_per_scale is not None and self.channels_per_scale < 1:
            raise InvalidInput(f"channels_per_scale is {self.channels_per_scale}; 1 or more work")
