"""The architectures that targets may have, by LLVM's triple."""

from qcompile.targets.arm import AARCH64, ARMV7
from qcompile.targets.x86 import X86_64

ARCHITECTURES = {family.triple: family for family in (X86_64, AARCH64, ARMV7)}
