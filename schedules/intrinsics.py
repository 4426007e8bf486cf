"""The dot products of each architecture, by target."""

from qcompile.schedules.dot import Dot
from qcompile.schedules.intrinsics_arm import arm_dots, register_arm_dots
from qcompile.schedules.intrinsics_x86 import register_x86_dots, x86_dots
from qcompile.targets import Target


def dot_of(target: Target, narrow: bool = False, pairs: bool = False) -> Dot:
    """The fastest dot product of the target.

    narrow: no weight is -128; pairs: rows come in two. Raises Unsupported where there is none.
    """
    return dots_of(target, narrow, pairs)[0]


def dots_of(target: Target, narrow: bool = False, pairs: bool = False) -> list[Dot]:
    """The dot products of the target that may be the fastest, the most likely first.

    Their offsets are the same. Raises Unsupported where there is none.
    """
    if target.architecture.name == "x86_64":
        return x86_dots(target)
    return arm_dots(target, narrow, pairs)


def register_intrinsics(target: Target) -> None:
    """Make its dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if target.architecture.name == "x86_64":
        register_x86_dots()
    else:
        register_arm_dots()
