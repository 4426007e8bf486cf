"""ONNX tensors as NumPy arrays, checked.

INT4, UINT4, INT2 and UINT2 come back in int8 or uint8 with their range beside them; float16 and
bfloat16 come back as float32 (every value of theirs is one of float32).
"""

import math

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Array, Codes

MAX_ELEMENTS = 2**31  # of one tensor: kernels index with 32-bit integers
SUB_BYTE = {
    TensorProto.INT4: Codes(4, True),
    TensorProto.UINT4: Codes(4, False),
    TensorProto.INT2: Codes(2, True),
    TensorProto.UINT2: Codes(2, False),
}
CAST_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
PLAIN_TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.INT32: "int32",
    TensorProto.UINT32: "uint32",
    TensorProto.INT64: "int64",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
}
IO_TYPES = PLAIN_TYPES | {TensorProto.FLOAT16: "float16"}  # of inputs and outputs
TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def type_name(elem_type: int) -> str:
    names: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return names.get(elem_type, f"type {elem_type}")


def io_dtype(elem_type: int, what: str) -> str:
    """The dtype of an input or output. Raises Unsupported for what the C interface has not."""
    if elem_type not in IO_TYPES:
        known = ", ".join(type_name(each) for each in IO_TYPES)
        raise Unsupported(f"{what} holds {type_name(elem_type)}; {known} work")
    return IO_TYPES[elem_type]


def element_bits(elem_type: int) -> int:
    """Bits of one stored element. Raises Unsupported for types that qcompile does not know."""
    if elem_type in SUB_BYTE:
        return SUB_BYTE[elem_type].bits
    if elem_type in CAST_TYPES:
        return 16
    if elem_type in PLAIN_TYPES:
        return np.dtype(PLAIN_TYPES[elem_type]).itemsize * 8
    known = ", ".join(type_name(t) for t in (*PLAIN_TYPES, *CAST_TYPES, *SUB_BYTE))
    raise Unsupported(f"element type {type_name(elem_type)}; known are {known}")


def elements(dims: list[int], what: str) -> int:
    """The number of elements. Raises InvalidModel for negative or absurd dimensions."""
    if any(extent < 0 for extent in dims):
        raise InvalidModel(f"{what} has a negative dimension: {dims}")
    count = math.prod(dims)
    if count > MAX_ELEMENTS or any(extent > MAX_ELEMENTS for extent in dims):
        raise InvalidModel(f"{what} has {count} elements ({dims}); at most 2^31 work")
    return count


def byte_size(tensor: onnx.TensorProto) -> int:
    """The bytes that type and dimensions ask for."""
    count = elements(list(tensor.dims), f"tensor '{tensor.name}'")
    return math.ceil(count * element_bits(tensor.data_type) / 8)


def check_tensor(tensor: onnx.TensorProto) -> None:
    """Raises InvalidModel unless the data holds exactly what type and dimensions say."""
    what = f"tensor '{tensor.name}'"
    if tensor.HasField("segment"):
        raise Unsupported(f"{what} is stored in segments")
    count = elements(list(tensor.dims), what)
    try:
        bits = element_bits(tensor.data_type)
    except Unsupported as error:
        raise Unsupported(f"{what}: {error}") from error
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), byte_size(tensor)
        if found != expected:
            raise InvalidModel(
                f"{what} of shape {list(tensor.dims)} needs {expected} bytes and has {found}"
            )
        return
    per_entry = 8 // bits if tensor.data_type in SUB_BYTE else 1
    found, expected = sum(len(getattr(tensor, f)) for f in TYPED_FIELDS), -(-count // per_entry)
    if found != expected:
        raise InvalidModel(
            f"{what} of shape {list(tensor.dims)} needs {expected} values and has {found}"
        )


def to_array(tensor: onnx.TensorProto) -> tuple[Array, Codes | None]:
    """The checked values, and the range of sub-byte codes."""
    check_tensor(tensor)
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidModel(f"tensor '{tensor.name}': {error}") from error
    codes = SUB_BYTE.get(tensor.data_type)
    if codes is not None:
        return array.astype("int8" if codes.signed else "uint8"), codes
    return plain(array), None


def plain(array: Array) -> Array:
    """float16 and bfloat16 widened to float32, anything else as it is."""
    if array.dtype in (np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)):
        return array.astype("float32")
    return array
