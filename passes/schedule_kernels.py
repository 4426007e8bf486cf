"""Give every kernel its schedule.

@T.prim_func with an anchor block marked `qcompile.schedule` -> scheduled by that operator
any other @T.prim_func                                       -> the generic schedules
"""

import tvm
from tvm import tirx
from tvm.ir import IRModule

from qcompile.schedules import schedule
from qcompile.targets import Target


def ScheduleKernels(target: Target) -> tvm.transform.Pass:  # noqa: N802 (passes are named so)
    """The pass for one target."""

    def transform(mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        functions = {
            var: _scheduled(function, target) if isinstance(function, tirx.PrimFunc) else function
            for var, function in mod.functions.items()
        }
        return IRModule(functions, attrs=mod.attrs)

    return tvm.transform.module_pass(transform, opt_level=0, name="ScheduleKernels")


def _scheduled(function: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    if function.attrs is not None and "tirx.is_scheduled" in function.attrs:
        return function
    return schedule(function, target)
