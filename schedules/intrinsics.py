"""The dot products of each architecture, by target."""

from qcompile.schedules.dot import Dot
from qcompile.schedules.intrinsics_arm import arm_dot, register_arm_dots
from qcompile.schedules.intrinsics_x86 import register_x86_dots, x86_dot
from qcompile.targets import Target


def dot_of(target: Target, narrow: bool = False, pairs: bool = False) -> Dot:
    """The fastest dot product of the target.

    narrow: no weight is -128; pairs: rows come in two. Raises Unsupported where there is none.
    """
    if target.architecture.name == "x86_64":
        return x86_dot(target)
    return arm_dot(target, narrow, pairs)


def register_intrinsics(target: Target) -> None:
    """Make its dot products known to `Schedule.tensorize`; calling it again is harmless."""
    if target.architecture.name == "x86_64":
        register_x86_dots()
    else:
        register_arm_dots()
