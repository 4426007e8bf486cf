"""What a user may choose about sensitivities."""

from dataclasses import dataclass, field
from typing import Any

from qcompile.errors import InvalidInput
from qcompile.quantizer import QuantizeOptions

KINDS = ("block", "kl", "hutchinson", "accuracy")


@dataclass(frozen=True)
class SensitivityOptions:
    """`samples`: of a set of data, at most, evenly drawn by the seed; accuracy takes all.

    `probes`: of each trace. `quantize`: how a layer's numbers are chosen; its widths play no part.
    """

    samples: int = 256
    probes: int = 4
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InvalidInput(f"samples is {self.samples}; 1 or more work")
        if self.probes < 2:
            raise InvalidInput(f"probes is {self.probes}; 2 or more tell a standard error")

    def key(self) -> dict[str, Any]:
        """All that changes a score, for JSON."""
        chosen = self.quantize
        names = ("ranges", "percentile", "channels_per_scale", "rounding", "correct_bias")
        return {name: getattr(chosen, name) for name in (*names, "equalize", "equal_adds")}
