"""Compile one TE anchor with a fused epilogue the way the pipeline does, and run it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from qcompile.schedules import schedule
from qcompile.targets import Target

OUT_ELEMENTWISE_FUSABLE = 4


def fused_function(
    inputs: Sequence[tuple[Sequence[int], str]],
    anchor: Callable[..., Any],
    epilogue: Callable[..., relax.Expr],
    operands: int,
) -> tirx.PrimFunc:
    """The PrimFunc of epilogue(anchor(first operands), *the others), made by TVM's fusion."""
    builder = relax.BlockBuilder()
    variables = [
        relax.Var(f"x{i}", relax.TensorType(shape, dtype))
        for i, (shape, dtype) in enumerate(inputs)
    ]
    with builder.function("main", variables):
        with builder.dataflow():
            sums = builder.emit_te(
                anchor,
                *variables[:operands],
                primfunc_name_hint="anchor",
                primfunc_attrs={"op_pattern": OUT_ELEMENTWISE_FUSABLE},
            )
            result = builder.emit_output(epilogue(sums, *variables[operands:]))
        builder.emit_func_output(result)
    module = tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(builder.get())
    (func,) = [f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)]
    return func


def build(func: tirx.PrimFunc, target: Target) -> tvm.runtime.Module:
    scheduled = schedule(func, target).with_attr("global_symbol", "main")
    return tvm.compile(tvm.IRModule({"main": scheduled}), target=target.tvm_target())


def run(library: tvm.runtime.Module, arrays: Sequence[np.ndarray], like: np.ndarray) -> np.ndarray:
    """What the kernel writes, shaped and typed `like`; the memory was not zero before."""
    result = tvm.runtime.tensor(np.full_like(like, 77))
    library(*(tvm.runtime.tensor(array) for array in arrays), result)
    return result.numpy()
