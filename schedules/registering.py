"""Tensor intrinsics made known to TVM once: their text takes long to parse."""

from collections.abc import Callable

from tvm import tirx
from tvm.s_tir import TensorIntrin


def register_once(name: str, make: Callable[[], tuple[tirx.PrimFunc, tirx.PrimFunc]]) -> str:
    """The name, under which `Schedule.tensorize` now finds the meaning and the sequence made."""
    if TensorIntrin.get(name, allow_missing=True) is None:
        TensorIntrin.register(name, *make())
    return name
