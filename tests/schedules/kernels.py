"""Compile one TE anchor with a fused epilogue the way the pipeline does, and run it."""

import ctypes
import json
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from qcompile.ops import add, requantize
from qcompile.passes.declared_patterns import DeclaredPatterns
from qcompile.schedules import schedule
from qcompile.targets import Target, host_features, load_target
from tests.schedules.emulated import emulated, emulator

OUT_ELEMENTWISE_FUSABLE = 4
CONSTANTS = "constants"

# Each with another sequence of instructions for int8; the last: VNNI on vectors of 32 bytes.
INT8_TARGETS = ["x86-64-v3", "skylake-avx512", "znver4", "znver4 ymm"]


# The same for ARM: each runs under qemu.
EMULATED_TARGETS = [
    pytest.param(name, marks=pytest.mark.emulated)
    for name in ("rpi4", "rpi5", "neoverse-n2", "armv7-a9")
]

# One of each architecture, for what has one form for all of its processors.
ARM_TARGETS = [EMULATED_TARGETS[0], EMULATED_TARGETS[-1]]


def int8_target(name: str) -> Target:
    """The target of that name in `INT8_TARGETS`, or of any other."""
    if name == "znver4 ymm":
        return replace(load_target("znver4"), name=name, vector_bytes=32, vector_registers=16)
    return load_target(name)


def runnable(target: Target) -> Target:
    """The target, when its code can run here; skips the test otherwise."""
    if target.architecture.name == "x86_64":
        if not target.runs_on(host_features()):
            pytest.skip(f"this processor cannot run {target.name}")
    elif emulator(target) is None:
        pytest.skip(f"{target.name} needs an emulator; `apt install qemu-user` has it")
    return target


def compensated(bias: np.ndarray, w: np.ndarray, offset: int) -> np.ndarray:
    """The bias of a kernel whose data counts less `offset`; w: (O, ...)."""
    return (bias + offset * w.reshape(len(w), -1).sum(axis=1, dtype="int64")).astype("int32")


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
            DeclaredPatterns(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(builder.get())
    (func,) = [f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)]
    ((binding,),) = [block.bindings for block in module["main"].body.blocks]
    constants = [
        (place, argument.value.numpy().tolist())
        for place, argument in enumerate(binding.value.args[1].fields)
        if not isinstance(argument, relax.Var)
    ]
    return func.with_attr(CONSTANTS, json.dumps(constants))


def build(func: tirx.PrimFunc, target: Target) -> Callable[..., None]:
    """The kernel; the constants that the epilogue brought are passed for the caller."""
    constants = json.loads(str(func.attrs[CONSTANTS])) if CONSTANTS in func.attrs else []
    library = compiled(schedule(func, target), target)
    if not constants:
        return library

    def call(*tensors: tvm.runtime.Tensor) -> None:
        arguments = list(tensors)
        for place, values in constants:
            arguments.insert(place, tvm.runtime.tensor(np.array(values, "float32")))
        library(*arguments)

    return call


def compiled(scheduled: tirx.PrimFunc, target: Target) -> Callable[..., None]:
    """The scheduled function, to call."""
    if target.architecture.name != "x86_64":
        return emulated(scheduled, target)
    main = scheduled.with_attr("global_symbol", "main")
    return tvm.compile(tvm.IRModule({"main": main}), target=target.tvm_target())


def run(library: tvm.runtime.Module, arrays: Sequence[np.ndarray], like: np.ndarray) -> np.ndarray:
    """What the kernel writes, shaped and typed `like`; the memory was not zero before."""
    result = tvm.runtime.tensor(np.full_like(like, 77))
    library(*(tvm.runtime.tensor(array) for array in arrays), result)
    return result.numpy()


def before_unreadable_memory(array: np.ndarray) -> np.ndarray:
    """A copy, right before a page that no one may read; it stays mapped. Its bytes: 64 * n."""
    assert array.nbytes % 64 == 0
    pages = -(-array.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    start = np.frombuffer(memory, "uint8").ctypes.data
    guard = ctypes.c_void_p(start + pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mprotect(guard, mmap.PAGESIZE, 0) == 0
    first = pages * mmap.PAGESIZE - array.nbytes
    copy = np.frombuffer(memory, array.dtype, array.size, first).reshape(array.shape)
    copy[...] = array
    return copy


def reads_only(library: tvm.runtime.Module, arrays: Sequence[np.ndarray], like: np.ndarray) -> bool:
    """Whether the kernel reads only the arrays: where one ends, reading on ends the process."""
    guarded = [before_unreadable_memory(array) for array in arrays]
    tensors = [tvm.runtime.from_dlpack(array) for array in guarded]
    result = tvm.runtime.tensor(np.zeros_like(like))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            library(*tensors, result)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def requantized(sums: relax.Expr, scale: relax.Expr) -> relax.Expr:
    """uint8 codes of the sums, by a scale for each channel."""
    return requantize(sums, scale, None, input_zero=0, zero_point=3, low=0, high=255, dtype="uint8")


def requantized_reference(sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
    rounded = np.rint(sums.astype("float32") * scale) + np.float32(3)
    return np.clip(rounded, 0, 255).astype("uint8")


def requantized_with_residual(
    sums: relax.Expr, scale: relax.Expr, residual: relax.Expr
) -> relax.Expr:
    """int8 codes of the requantized sums plus a tensor of uint8 codes."""
    return add(
        requantized(sums, scale), residual, scales=(0.7, 0.4), zeros=(3, 5), zero_point=-10,
        low=-128, high=127, dtype="int8",
    )  # fmt: skip


def residual_reference(sums: np.ndarray, scale: np.ndarray, residual: np.ndarray) -> np.ndarray:
    codes = requantized_reference(sums, scale).astype("int32") - 3
    terms = codes.astype("float32") * np.float32(0.7)
    terms = terms + (residual.astype("int32") - 5).astype("float32") * np.float32(0.4)
    return np.clip(np.rint(terms) - np.float32(10), -128, 127).astype("int8")
