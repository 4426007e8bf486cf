"""MaxPool and AveragePool with explicit pads.

A ceil_mode becomes a longer pad at the end; windows that would start beyond the data and its pads
are left out (ONNX MaxPool, opset 22). Where an average counts the pads but not that extension, the
zeros are padded explicitly.
"""

from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Emitter, Node, Value, shape_of
from qcompile.frontend.windows import Window, per_axis, resolve_pads

MAXIMUM = {3: relax.op.nn.max_pool1d, 4: relax.op.nn.max_pool2d, 5: relax.op.nn.max_pool3d}
AVERAGE = {3: relax.op.nn.avg_pool1d, 4: relax.op.nn.avg_pool2d, 5: relax.op.nn.avg_pool3d}


def max_pool(emit: Emitter, node: Node) -> Value:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Unsupported("the indices of the maxima; only the maxima themselves work")
    x = node.expr(0)
    window, extra = pool_window(node, shape_of(x))
    pads = _sums(window.pads, extra)
    call = MAXIMUM[len(shape_of(x))](x, window.kernel, window.strides, pads, window.dilations)
    return Value(emit.emit(call, node.name), node.value(0).codes)


def average_pool(emit: Emitter, node: Node) -> relax.Expr:
    return average(emit, node, node.expr(0))


def average(emit: Emitter, node: Node, x: relax.Expr) -> relax.Expr:
    """x: (N, C, spatial...) float."""
    window, extra = pool_window(node, shape_of(x))
    rank = len(shape_of(x))
    counted = bool(node.integer("count_include_pad", 0))
    pads = window.pads
    if counted and any(extra):
        axes = rank - 2
        width = [0, 0, *pads[:axes], 0, 0, *pads[axes:]]
        pairs = [width[i + side * rank] for i in range(rank) for side in (0, 1)]
        x = emit.emit(relax.op.nn.pad(x, pairs))
        pads, counted = [0] * len(pads), False
    call = AVERAGE[rank](
        x,
        window.kernel,
        window.strides,
        _sums(pads, extra),
        window.dilations,
        count_include_pad=counted,
    )
    return emit.emit(call, node.name)


def pool_window(node: Node, shape: tuple[int, ...]) -> tuple[Window, list[int]]:
    """The window, and how far ceil_mode extends the pads: zeros for the starts, then the ends."""
    axes = len(shape) - 2
    if axes not in (1, 2, 3):
        raise Unsupported(f"pooling of data of shape {list(shape)}; 1 to 3 spatial axes work")
    if node.integer("storage_order", 0):
        raise Unsupported("storage_order 1")
    if "kernel_shape" not in node.attributes:
        raise InvalidModel("the attribute kernel_shape is missing")
    kernel = per_axis(node, "kernel_shape", axes, 1, 1)
    strides = per_axis(node, "strides", axes, 1, 1)
    dilations = per_axis(node, "dilations", axes, 1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = resolve_pads(node, shape[2:], reach, strides)
    extra = [0] * (2 * axes)
    for axis, extent in enumerate(shape[2:]):
        total = extent + pads[axis] + pads[axes + axis]
        if total < reach[axis]:
            raise InvalidModel(f"the window {kernel} is larger than the padded data {list(shape)}")
        if node.integer("ceil_mode", 0):
            windows = -(-(total - reach[axis]) // strides[axis]) + 1
            if (windows - 1) * strides[axis] >= extent + pads[axis]:
                windows -= 1
            needed = (windows - 1) * strides[axis] + reach[axis]
            extra[axes + axis] = max(needed - total, 0)
    return Window(kernel, strides, dilations, pads, 1), extra


def global_average(emit: Emitter, x: relax.Expr, name: str) -> relax.Expr:
    """The mean over all spatial axes, which stay as 1."""
    axes = list(range(2, len(shape_of(x))))
    return emit.emit(relax.op.mean(x, axes, keepdims=True), name)


def _sums(a: list[int], b: list[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)]
