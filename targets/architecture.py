"""An instruction set architecture: how LLVM, Linux and the linker name it and its extensions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """What the targets of one architecture have in common.

    `features` maps LLVM's names of instruction sets to those of Linux in /proc/cpuinfo; `baseline`
    are those that every target has, `level` what people call them. `vectors` maps each possible
    (vector_bytes, vector_registers) to the features that it needs; `processors` are the values of
    `mcpu` that LLVM 22 knows and that have the baseline: it ends the process on others.
    """

    name: str
    triple: str
    library_triple: str  # of shared libraries: for the platform's libc
    program_triple: str  # of whole programs: they need nothing of the system
    features: Mapping[str, str]
    baseline: tuple[str, ...]
    level: str
    processors: tuple[str, ...]
    vectors: Mapping[tuple[int, int], tuple[str, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)  # more fields of TVM's target
    attributes: tuple[str, ...] = ()  # more of LLVM's features, on (+) or off (-) in every target
    compiler_flags: tuple[str, ...] = ()  # for the C files
