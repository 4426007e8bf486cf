"""Let kernels say themselves how they fuse.

    @T.prim_func {"qcompile.op_pattern": p} -> the same with {"op_pattern": p}

TVM's own analysis (AnnotateTIROpPattern, run before) takes an operand that is read at a constant
position, as a layer's parameters are, for a general gather, and would not fuse it.
"""

import tvm
from tvm import tirx
from tvm.ir import IRModule

DECLARED = "qcompile.op_pattern"
ELEMENTWISE, INJECTIVE, OUT_ELEMENTWISE_FUSABLE = 0, 2, 4  # TVM's pattern kinds


def _declared(function: tirx.PrimFunc) -> tirx.PrimFunc:
    if function.attrs is None or DECLARED not in function.attrs:
        return function
    pattern = int(function.attrs[DECLARED])
    return function.without_attr(DECLARED).with_attr("op_pattern", pattern)


@tvm.transform.module_pass(opt_level=0, name="DeclaredPatterns")
class DeclaredPatterns:
    def transform_module(self, mod: IRModule, _: tvm.transform.PassContext) -> IRModule:
        functions = {
            var: _declared(function) if isinstance(function, tirx.PrimFunc) else function
            for var, function in mod.functions.items()
        }
        return IRModule(functions, attrs=mod.attrs)
