"""Evaluate nodes whose inputs are all constants: shape computations above all.

Only cheap standard operators are folded, and never the dequantize of weights. The size of a result
is bounded before it is computed, so that a hostile file cannot ask for more than `MAX_FOLDED`
elements, or what the inputs hold already.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from qcompile.errors import InvalidModel
from qcompile.frontend.node import Array
from qcompile.frontend.tensors import plain

MAX_FOLDED = 2**24
MOST_BYTES = 8  # of an element


def _operators(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _operators("""
    Abs Add And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Cos Div Equal
    Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max Min Mod Mul Neg Not Or
    Pow Reciprocal Relu Round Sigmoid Sign Sin Sqrt Sub Sum Tanh Where Xor
""")
SHAPED = _operators("""
    ArgMax ArgMin Concat CumSum DepthToSpace EyeLike GatherElements ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ScatterElements ScatterND Slice SpaceToDepth Split Trilu
""")
GROWING = _operators("ConstantOfShape Expand Gather GatherND NonZero OneHot Pad Range Tile")
FOLDABLE = ELEMENTWISE | SHAPED | GROWING


def result_size(operator: str, arrays: Sequence[Array | None]) -> float:
    """At least the number of elements of the result of a foldable operator."""
    given = [array for array in arrays if array is not None]
    if operator in ELEMENTWISE:
        return _broadcast_size(given)
    if operator in SHAPED:
        return sum(array.size for array in given)
    return _grown_size(operator, given)


def _broadcast_size(arrays: Sequence[Array]) -> int:
    rank = max((array.ndim for array in arrays), default=0)
    aligned = [(1,) * (rank - array.ndim) + array.shape for array in arrays]
    return math.prod(max(extents) for extents in zip(*aligned, strict=True))


def _grown_size(operator: str, arrays: Sequence[Array]) -> float:
    """An upper bound of the elements of the result; inf where the inputs make no sense."""
    integers = [
        [int(v) for v in a.reshape(-1)[:64]] if a.dtype.kind in "iu" else [] for a in arrays
    ]
    if operator == "ConstantOfShape":
        return math.prod(max(extent, 1) for extent in integers[0]) if arrays[0].size <= 64 else 0
    if operator == "Range" and all(array.size == 1 for array in arrays) and len(arrays) == 3:
        start, stop, step = (float(array.reshape(())) for array in arrays)
        return (stop - start) / step if step else math.inf
    if operator == "NonZero":
        return arrays[0].size * arrays[0].ndim
    if len(arrays) < 2:
        return math.inf
    if operator == "Expand":
        return arrays[0].size * math.prod(max(extent, 1) for extent in integers[1])
    if operator == "Tile":
        return arrays[0].size * math.prod(max(count, 0) for count in integers[1])
    if operator in ("Gather", "GatherND"):
        return float(arrays[1].size * max(arrays[0].size, 1))
    if operator == "OneHot":
        return arrays[0].size * float(np.abs(arrays[1].reshape(-1)[:1]).sum())
    pads = integers[1]
    return math.prod(extent + sum(abs(pad) for pad in pads) for extent in arrays[0].shape)


def evaluate(node: onnx.NodeProto, arrays: Sequence[Array | None], opset: int) -> list[Array]:
    """The node's results. Raises InvalidModel when the inputs do not fit the operator."""
    names = [name for name in node.input if name]
    function = onnx.helper.make_function(
        "",
        "fold",
        list(dict.fromkeys(names)),
        [name for name in node.output if name],
        [node],
        [onnx.helper.make_opsetid("", opset)],
    )
    feeds = {name: array for name, array in zip(node.input, arrays, strict=True) if name}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(function).run(None, feeds, attributes={})
    except Exception as error:  # whatever NumPy says about inputs that do not fit
        raise InvalidModel(f"its constant inputs do not fit: {error}") from error
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        raise InvalidModel("its constant inputs give no tensor")
    return [plain(np.asarray(result)) for result in results]
