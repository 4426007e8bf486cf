"""Conv, ConvTranspose, MatMul and Gemm: the operators that layers are named by.

Each becomes the bare Relax operator, bound to a variable named like the ONNX node, and its bias an
addition behind it:

    Conv(x, w, b)        -> add(conv2d(x, w), b of shape (1, O, 1, 1))
    Gemm(a, b, c)        -> add(multiply(matmul(a, b), alpha), multiply(c, beta)), without factors 1

Transposes of constants, and of dequantized constants, are folded into the constants; the new shape
of a bias likewise. auto_pad becomes explicit pads.
"""

from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.layout import reshaped, transposed
from qcompile.frontend.node import Emitter, Node, array_of, constant, dtype_of, shape_of
from qcompile.frontend.windows import Window, check_output, convolution_window, transposed_window

CONVOLUTIONS = {
    3: (relax.op.nn.conv1d, "NCW", "OIW"),
    4: (relax.op.nn.conv2d, "NCHW", "OIHW"),
    5: (relax.op.nn.conv3d, "NCDHW", "OIDHW"),
}
TRANSPOSED = {
    3: (relax.op.nn.conv1d_transpose, "NCW", "IOW"),
    4: (relax.op.nn.conv2d_transpose, "NCHW", "IOHW"),
    5: (relax.op.nn.conv3d_transpose, "NCDHW", "IODHW"),
}


def convolution(emit: Emitter, node: Node) -> relax.Expr:
    return convolve(emit, node, node.expr(0), node.expr(1), node.optional(2))


def convolve(
    emit: Emitter, node: Node, x: relax.Expr, w: relax.Expr, bias: relax.Expr | None
) -> relax.Expr:
    """x: (N, C, spatial...), w: (O, C / groups, window...), bias: (O,); float, or dequantized."""
    window = convolution_window(node, shape_of(x), shape_of(w))
    if len(shape_of(x)) not in CONVOLUTIONS:
        raise Unsupported(f"convolution over {len(shape_of(x)) - 2} axes; 1 to 3 work")
    operator, data_layout, kernel_layout = CONVOLUTIONS[len(shape_of(x))]
    call = operator(
        x,
        w,
        strides=window.strides,
        padding=window.pads,
        dilation=window.dilations,
        groups=window.groups,
        data_layout=data_layout,
        kernel_layout=kernel_layout,
    )
    y = emit.emit(call, node.name)
    return y if bias is None else with_bias(emit, y, bias)


def with_bias(emit: Emitter, y: relax.Expr, bias: relax.Expr) -> relax.Expr:
    """y: (N, O, spatial...) plus bias: (O,)."""
    channels, rank = shape_of(y)[1], len(shape_of(y))
    if shape_of(bias) != (channels,):
        raise InvalidModel(f"bias of shape {list(shape_of(bias))} for {channels} channels")
    return emit.emit(relax.op.add(y, reshaped(emit, bias, (1, channels, *[1] * (rank - 2)))))


def transposed_convolution(emit: Emitter, node: Node) -> relax.Expr:
    """x: (N, C, spatial...), w: (C, O / groups, window...)."""
    x, w = node.expr(0), node.expr(1)
    window: Window = transposed_window(node, shape_of(x), shape_of(w))
    if len(shape_of(x)) not in TRANSPOSED:
        raise Unsupported(f"convolution over {len(shape_of(x)) - 2} axes; 1 to 3 work")
    operator, data_layout, kernel_layout = TRANSPOSED[len(shape_of(x))]
    call = operator(
        x,
        w,
        strides=window.strides,
        padding=window.pads,
        output_padding=window.output_padding,
        dilation=window.dilations,
        groups=window.groups,
        data_layout=data_layout,
        kernel_layout=kernel_layout,
    )
    y = emit.emit(call, node.name)
    check_output(shape_of(y))
    bias = node.optional(2)
    return y if bias is None else with_bias(emit, y, bias)


def matmul(emit: Emitter, node: Node) -> relax.Expr:
    return multiply_matrices(emit, node, node.expr(0), node.expr(1))


def multiply_matrices(emit: Emitter, node: Node, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """a: (..., M, K), b: (..., K, N)."""
    if dtype_of(a) != dtype_of(b):
        raise InvalidModel(f"a product of {dtype_of(a)} and {dtype_of(b)}")
    if not shape_of(a) or not shape_of(b):
        raise InvalidModel("a matrix product of a scalar")
    depth = shape_of(a)[-1], shape_of(b)[-2 if len(shape_of(b)) > 1 else 0]
    if depth[0] != depth[1]:
        raise InvalidModel(
            f"a matrix product of {list(shape_of(a))} and {list(shape_of(b))}: "
            f"{depth[0]} columns, {depth[1]} rows"
        )
    return emit.emit(relax.op.matmul(a, b), node.name)


def gemm(emit: Emitter, node: Node) -> relax.Expr:
    """alpha * a @ b + beta * c."""
    a, b = node.expr(0), node.expr(1)
    if len(shape_of(a)) != 2 or len(shape_of(b)) != 2:
        raise InvalidModel(f"Gemm of {list(shape_of(a))} and {list(shape_of(b))}; both need rank 2")
    a = transposed(emit, a, [1, 0]) if node.integer("transA", 0) else a
    b = transposed(emit, b, [1, 0]) if node.integer("transB", 0) else b
    y = scaled(emit, multiply_matrices(emit, node, a, b), node.number("alpha", 1.0))
    c, beta = node.optional(2), node.number("beta", 1.0)
    if c is None or beta == 0.0:
        return y
    if not broadcasts_to(shape_of(c), shape_of(y)):
        raise InvalidModel(f"C of shape {list(shape_of(c))} for a result {list(shape_of(y))}")
    return emit.emit(relax.op.add(y, scaled(emit, c, beta)))


def scaled(emit: Emitter, x: relax.Expr, factor: float) -> relax.Expr:
    """x times a constant, which is folded into constants."""
    if factor == 1.0:
        return x
    array = array_of(x)
    if array is not None:
        return constant(array * array.dtype.type(factor))
    return emit.emit(relax.op.multiply(x, relax.const(factor, dtype_of(x))))


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether `shape` can be added to `target` without growing it."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(a in (1, b) for a, b in pairs)
