"""A model of ARM processors: cycles of a program without the board it is for.

cycles = instructions that qemu counts x cycles that llvm-mca gives their blocks, and a cache term.
It is deterministic, it ranks kernels, and it is no measurement.
"""

from qcompile.model_device.core import Core, load_core
from qcompile.model_device.estimate import Estimate, StepEstimate, estimate

__all__ = ["Core", "Estimate", "StepEstimate", "estimate", "load_core"]
