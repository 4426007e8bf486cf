"""A function of the integer form as VTA reads it: tensors of codes, and who reads them."""

from collections import defaultdict
from itertools import count
from math import prod

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from qcompile.ops.quantize import QUANTIZE, code_range
from qcompile.ops.requantize import ADD, MULTIPLY, REQUANTIZE
from qcompile.ops.shift_add import SHIFT_ADD
from qcompile.ops.threshold import THRESHOLD
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import VtaTensor

IMAGE_RANK = 4
INT32 = (-(2**31), 2**31 - 1)
KEEPS_CODES = ("relax.nn.max_pool2d", "relax.reshape", "relax.permute_dims")


class VtaGraph:
    """Definitions and readers of the variables of a function, for one configuration."""

    def __init__(self, function: relax.Function, config: Config) -> None:
        self.config = config
        self.values: dict[relax.Var, relax.Expr] = {}
        self.readers: defaultdict[relax.Var, list[relax.Var | None]] = defaultdict(list)
        self._names: dict[relax.Var, str] = {}
        self._taken: set[str] = set()
        for parameter in function.params:
            self._name(parameter)
        for block in function.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = binding.value
                self._name(binding.var)
                for variable in variables_of(binding.value):
                    self.readers[variable].append(binding.var)
        for variable in variables_of(function.body.body):
            self.readers[variable].append(None)

    def _name(self, var: relax.Var) -> None:
        name = str(var.name)
        numbered = (name if k == 0 else f"{name}_{k}" for k in count())
        self._names[var] = next(free for free in numbered if free not in self._taken)
        self._taken.add(self._names[var])

    def name(self, var: relax.Var) -> str:
        """Of a variable; no two have the same."""
        return self._names[var]

    def call_of(self, value: relax.Expr, *operators: str) -> tvm.ir.Call | None:
        """The call behind a variable when it is one of `operators`."""
        found = self.values.get(value, value) if isinstance(value, relax.Var) else value
        return found if operator_name(found) in operators else None

    def read_once(self, var: relax.Expr) -> bool:
        return isinstance(var, relax.Var) and len(self.readers[var]) == 1

    def codes(self, value: relax.Expr) -> relax.Var | None:
        """The variable that a tensor of 8-bit codes is, or None."""
        is_codes = isinstance(value, relax.Var) and dtype_of(value) in ("int8", "uint8")
        return value if is_codes else None

    def tensor(self, var: relax.Var) -> VtaTensor:
        """A tensor of codes or of sums as VTA holds it."""
        shape, sums = image_shape(var), dtype_of(var) == "int32"
        if sums:
            return VtaTensor(self.name(var), shape, 0, *INT32, "sums")
        low, high = self.code_range(var)
        offset = self._offset(low, high)
        return VtaTensor(self.name(var), shape, offset, low - offset, high - offset)

    def _offset(self, low: int, high: int) -> int:
        """What makes codes signed: nothing where they fit INP, else half of their bits' range."""
        fits = high < 1 << (self.config.inp_width - 1)
        return 0 if low < 0 or fits else 1 << (high.bit_length() - 1)

    def code_range(self, var: relax.Expr) -> tuple[int, int]:
        """The lowest and the highest code that a tensor may hold."""
        call = self.values.get(var, var)
        operator = operator_name(call)
        if operator in KEEPS_CODES and isinstance(call.args[0], relax.Var):
            return self.code_range(call.args[0])
        if operator == QUANTIZE:
            bits, signed, narrow = (int(call.attrs[k]) for k in ("bits", "signed", "narrow"))
            return code_range(bits, bool(signed), bool(narrow))
        if operator in (REQUANTIZE, SHIFT_ADD, ADD, MULTIPLY):
            return int(call.attrs["low"]), int(call.attrs["high"])
        if operator == THRESHOLD:
            low, step = (int(call.attrs[key]) for key in ("low", "step"))
            return low, low + step * shape_of(call.args[1])[0]
        return (-128, 127) if dtype_of(var) == "int8" else (0, 255)

    def flattened(
        self, rows: relax.Var
    ) -> tuple[relax.Var, tuple[int, int, int], NDArray[np.int64]] | None:
        """The image (N, H, W, C) whose numbers are the rows (N, H W C) of a matrix.

        And its extents (H, W, C), and the place in them of each column.
        """
        reshape = self.call_of(rows, "relax.reshape")
        if reshape is None or len(shape_of(rows)) != 2:
            return None
        data, order = reshape.args[0], [0, 1, 2, 3]
        turned = self.call_of(data, "relax.permute_dims")
        if turned is not None and len(shape_of(data)) == IMAGE_RANK:
            data, order = turned.args[0], _axes(turned)
        image = self.codes(data)
        if image is None or len(shape_of(image)) != IMAGE_RANK or order[0] != 0:
            return None
        images, height, width, channels = shape_of(image)
        if shape_of(rows) != (images, height * width * channels):
            return None
        places = np.arange(height * width * channels).reshape(height, width, channels)
        turned_places = places.transpose([axis - 1 for axis in order[1:]])
        return image, (height, width, channels), turned_places.reshape(-1)


def image_shape(var: relax.Expr) -> tuple[int, int, int, int]:
    """(N, H, W, C) of a tensor; rows of a matrix are images of one pixel."""
    shape = shape_of(var)
    if len(shape) == IMAGE_RANK:
        return (shape[0], shape[1], shape[2], shape[3])
    if len(shape) == 2:
        return (shape[0], 1, 1, shape[1])
    return (1, 1, prod(shape[:-1]), shape[-1])


def _axes(call: tvm.ir.Call) -> list[int]:
    if call.attrs.axes is None:
        return list(reversed(range(IMAGE_RANK)))
    return [int(axis) % IMAGE_RANK for axis in call.attrs.axes]


def variables_of(expression: relax.Expr) -> list[relax.Var]:
    """The variables that an expression reads, in order."""
    if isinstance(expression, relax.Var):
        return [expression]
    if isinstance(expression, relax.Tuple):
        return [var for field in expression.fields for var in variables_of(field)]
    if isinstance(expression, relax.TupleGetItem):
        return variables_of(expression.tuple_value)
    if isinstance(expression, tvm.ir.Call):
        return [var for argument in expression.args for var in variables_of(argument)]
    return []
