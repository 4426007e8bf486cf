"""Constants that are part of another one: planes of bits that networks of several widths share.

    c (V, ..., B, L) = w[:V, ..., b : b + B, :]   ->   c lies in w, from its plane b on

w: (U, ..., P, L) uint32 words, vectors first, then planes and lanes last, as kernels on bits read
weights. Where V > U, w gets vectors of zeros behind it: tiles of other heights fill up to other
numbers of vectors. The upper bits of a weight are the weight in fewer bits where it was rounded
down: floor(2^k v) >> (k - j) = floor(2^j v), in two's complement and in planes of -1 and 1 alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray
from tvm import tirx

from qcompile.export.program import Call, Program

Array = NDArray[Any]
FEWEST_AXES = 4  # of weights in planes: vectors, words, planes, lanes


def is_planes(array: Array) -> bool:
    """Whether a constant can be weights in planes."""
    return array.dtype == np.uint32 and array.ndim >= FEWEST_AXES


def first_plane(part: Array, whole: Array) -> int | None:
    """The plane of `whole` from which on it holds `part`, or None.

    Also None where the vectors of zeros that it lacks are more than the part.
    """
    if part.ndim != whole.ndim or _missing_bytes(part, whole) >= part.nbytes:
        return None
    if part.shape[1:-2] != whole.shape[1:-2] or part.shape[-1] != whole.shape[-1]:
        return None
    count, spare = part.shape[-2], whole.shape[-2] - part.shape[-2]
    both = min(len(part), len(whole))
    if part[both:].any():
        return None
    # The upper planes first: they are what a narrower width has.
    for plane in range(spare, -1, -1):
        if np.array_equal(whole[:both, ..., plane : plane + count, :], part[:both]):
            return plane
    return None


def with_vectors_of(part: Array, whole: Array) -> Array:
    """`whole`, with vectors of zeros behind it where `part` has more of them."""
    missing = max(len(part) - len(whole), 0)
    return np.concatenate([whole, np.zeros((missing, *whole.shape[1:]), whole.dtype)])


def _missing_bytes(part: Array, whole: Array) -> int:
    return max(len(part) - len(whole), 0) * whole.itemsize * prod(whole.shape[1:])


def strides_in(part: Array, whole: Array) -> tuple[int, ...]:
    """How many elements of `whole` lie between neighbours of `part` along each axis."""
    shape = *part.shape[:-2], whole.shape[-2], whole.shape[-1]
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def with_strides(program: Program, strides: Mapping[int, tuple[int, ...]]) -> Program:
    """The program with kernels that read the constants `strides` (by number) with gaps."""
    functions = dict(program.functions)
    calls = []
    for call in program.calls:
        own = {
            place: strides[operand.index]
            for place, operand in enumerate(call.operands)
            if operand.kind == "constant" and operand.index in strides
        }
        name = call.function
        if own:
            name += "".join(f"_{place}_{'_'.join(map(str, gaps))}" for place, gaps in own.items())
            functions.setdefault(name, _with_strides(program.functions[call.function], own))
        calls.append(Call(name, call.layer, call.operands))
    used = {call.function for call in calls}
    kept = {name: function for name, function in functions.items() if name in used}
    return replace(program, calls=tuple(calls), functions=kept)


def _with_strides(function: tirx.PrimFunc, strides: Mapping[int, Sequence[int]]) -> tirx.PrimFunc:
    """The function with parameters, by place, whose elements have gaps between them."""
    parameters = list(function.params)
    gaps: dict[Any, Any] = {}
    for place, steps in strides.items():
        old = parameters[place]
        shape, dtype = old.ty.shape, str(old.ty.dtype.dtype)
        constants = [tirx.const(step, "int64") for step in steps]
        parameters[place] = tirx.decl_buffer(shape, dtype, old.name, strides=constants)
        gaps[old] = parameters[place]

    def swap(variable: Any) -> Any:
        return gaps.get(variable, variable)

    body = tvm_ffi.structural_map(function.body, (tirx.Var, swap))
    return tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)
