"""What a layer may take: the widths of its weights and its input, and the kernel that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcompile.quantizer import Widths


@dataclass(frozen=True)
class Form:
    """What a layer wants its input to be: codes of so many bits, laid out for a kernel."""

    bits: int
    kernel: str


@dataclass(frozen=True, order=True)
class Choice:
    """kernel: as the manifest names it: "conv2d_int8", "dense_bits", "vta"."""

    weights: int
    activations: int
    kernel: str

    @property
    def widths(self) -> Widths:
        return Widths(self.weights, self.activations)

    @property
    def form(self) -> Form:
        return Form(self.activations, self.kernel)

    def __str__(self) -> str:
        return f"w{self.weights}a{self.activations} {self.kernel}"

    def to_json(self) -> dict[str, Any]:
        return {"w": self.weights, "a": self.activations, "kernel": self.kernel}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Choice":
        return cls(int(held["w"]), int(held["a"]), str(held["kernel"]))


Assignment = Mapping[str, Choice]
