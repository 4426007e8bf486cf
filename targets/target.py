"""What a kernel may know about the processor it is compiled for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcompile.targets.architecture import Architecture
from qcompile.targets.architectures import ARCHITECTURES

if TYPE_CHECKING:
    import tvm


@dataclass(frozen=True)
class Target:
    """A processor to compile for. Sizes in bytes, clock in hertz.

    `features` are LLVM's names of the instruction sets that the generated code may use: all of
    them, whatever `llvm["mcpu"]`, which only chooses the scheduling model, implies.
    """

    name: str
    cores: int
    vector_bytes: int
    vector_registers: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    clock_hz: float
    features: tuple[str, ...]
    source: str
    llvm: Mapping[str, Any]

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.llvm["mtriple"]]

    def tvm_target(self) -> tvm.target.Target:
        """The same for TVM: `mcpu` with exactly `features`, switched on and off one by one."""
        import tvm

        family = self.architecture
        # Off before on: switching a feature off also switches off what needs it.
        off = [f"-{name}" for name in family.features if name not in self.features]
        on = [f"+{name}" for name in family.features if name in self.features]
        attributes = [*off, *family.attributes, *on]
        if family.name == "x86_64":
            # LLVM avoids 512-bit vectors on some that have them; vector_bytes decides here.
            attributes.append("-prefer-256-bit" if self.vector_bytes == 64 else "+prefer-256-bit")
        return tvm.target.Target({**self.llvm, **family.options, "mattr": attributes})

    def runs_on(self, features: Iterable[str]) -> bool:
        """Whether code for this target runs on a processor with these features."""
        return set(self.features) <= set(features)
