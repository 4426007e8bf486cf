"""The sliding windows of convolutions: strides, dilations and explicit pads, checked.

With k = (window - 1) * dilation + 1 the output of an axis of extent i is
(i + pads - k) // stride + 1, and for a transposed convolution
(i - 1) * stride + k + output_padding - pads. SAME_UPPER and SAME_LOWER make it ceil(i / stride),
and i * stride when transposed; an odd pad goes to the end resp. to the start.
ONNX Conv, opset 22; ConvTranspose, opset 22.
"""

from dataclasses import dataclass, field

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Node

MAX_EXTENT = 2**24  # strides, dilations and pads beyond this are no real model


@dataclass(frozen=True)
class Window:
    """Per spatial axis; `pads` are all starts, then all ends, as in ONNX."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    groups: int
    output_padding: list[int] = field(default_factory=list)


def per_axis(node: Node, name: str, axes: int, default: int, least: int) -> list[int]:
    """One attribute entry per spatial axis. Raises InvalidModel for wrong counts or values."""
    values = node.integers(name, [default] * axes)
    if len(values) != axes:
        raise InvalidModel(f"{name} has {len(values)} entries for {axes} spatial axes")
    if any(not least <= value <= MAX_EXTENT for value in values):
        raise InvalidModel(f"{name} is {values}; at least {least} is needed")
    return values


def convolution_window(node: Node, x: tuple[int, ...], w: tuple[int, ...]) -> Window:
    """The window of Conv on x: (N, C, spatial...) with w: (O, C / groups, window...)."""
    axes = _spatial_axes(x, w)
    groups = node.integer("group", 1)
    if groups < 1 or w[1] * groups != x[1] or w[0] % groups:
        raise InvalidModel(f"weights {list(w)} in {groups} groups do not fit data {list(x)}")
    strides = per_axis(node, "strides", axes, 1, 1)
    dilations = per_axis(node, "dilations", axes, 1, 1)
    kernel = _kernel(node, w)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = resolve_pads(node, x[2:], reach, strides)
    for axis in range(axes):
        if x[2 + axis] + pads[axis] + pads[axes + axis] < reach[axis]:
            raise InvalidModel(f"the window {kernel} is larger than the padded data {list(x)}")
    return Window(kernel, strides, dilations, pads, groups)


def transposed_window(node: Node, x: tuple[int, ...], w: tuple[int, ...]) -> Window:
    """The window of ConvTranspose on x: (N, C, spatial...), w: (C, O / groups, window...)."""
    axes = _spatial_axes(x, w)
    groups = node.integer("group", 1)
    if groups < 1 or w[0] != x[1] or x[1] % groups:
        raise InvalidModel(f"weights {list(w)} in {groups} groups do not fit data {list(x)}")
    strides = per_axis(node, "strides", axes, 1, 1)
    dilations = per_axis(node, "dilations", axes, 1, 1)
    extra = per_axis(node, "output_padding", axes, 0, 0)
    kernel = _kernel(node, w)
    if any(not 0 <= w <= MAX_EXTENT for w in node.integers("output_shape", [])):
        raise InvalidModel(f"output_shape is {node.integers('output_shape', [])}")
    full = [
        (i - 1) * s + (k - 1) * d + 1 + e
        for i, s, k, d, e in zip(x[2:], strides, kernel, dilations, extra, strict=True)
    ]
    pads = _transposed_pads(node, x[2:], full, strides)
    # An output_shape beyond the reach of the windows is what output_padding is for.
    missing = [max(-start - end, 0) for start, end in zip(pads[:axes], pads[axes:], strict=True)]
    extra = [e + m for e, m in zip(extra, missing, strict=True)]
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise InvalidModel(f"output_padding {extra} is not below the strides {strides}")
    pads = [max(pad, 0) for pad in pads]
    return Window(kernel, strides, dilations, pads, groups, extra)


def check_output(shape: tuple[int, ...]) -> None:
    if any(extent <= 0 for extent in shape):
        raise InvalidModel(f"its result would have the shape {list(shape)}")


def resolve_pads(
    node: Node, extents: tuple[int, ...], reach: list[int], strides: list[int]
) -> list[int]:
    """Explicit pads: all starts, then all ends."""
    mode = node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return _given_pads(node, len(extents))
    if mode == "VALID":
        return [0] * (2 * len(extents))
    totals = [
        max((-(-i // s) - 1) * s + k - i, 0)
        for i, k, s in zip(extents, reach, strides, strict=True)
    ]
    return _halves(mode, totals)


def _transposed_pads(
    node: Node, extents: tuple[int, ...], full: list[int], strides: list[int]
) -> list[int]:
    """Explicit pads of ConvTranspose, from output_shape or auto_pad where given."""
    mode = node.text("auto_pad", "NOTSET")
    if "output_shape" in node.attributes:
        wanted = node.integers("output_shape", [])[-len(extents) :]
        if len(wanted) != len(extents):
            raise InvalidModel(f"output_shape {wanted} for {len(extents)} spatial axes")
    elif mode == "NOTSET":
        return _given_pads(node, len(extents))
    elif mode == "VALID":
        return [0] * (2 * len(extents))
    else:
        wanted = [i * s for i, s in zip(extents, strides, strict=True)]
    totals = [f - w for f, w in zip(full, wanted, strict=True)]
    # ONNX Runtime puts the odd pad at the start unless SAME_UPPER asks for the end.
    return _halves("SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER", totals)


def _halves(mode: str, totals: list[int]) -> list[int]:
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise InvalidModel(f"auto_pad is {mode!r}")
    starts = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]
    return starts + [total - start for total, start in zip(totals, starts, strict=True)]


def _given_pads(node: Node, axes: int) -> list[int]:
    pads = node.integers("pads", [0] * (2 * axes))
    if len(pads) != 2 * axes:
        raise InvalidModel(f"pads has {len(pads)} entries for {axes} spatial axes")
    if any(pad < 0 for pad in pads):
        raise Unsupported(f"negative pads {pads}; cut the data with a Slice before it")
    if any(pad > MAX_EXTENT for pad in pads):
        raise InvalidModel(f"pads is {pads}")
    return pads


def _kernel(node: Node, w: tuple[int, ...]) -> list[int]:
    kernel = list(w[2:])
    given = node.integers("kernel_shape", kernel)
    if given != kernel:
        raise InvalidModel(f"kernel_shape is {given} but the weights are {list(w)}")
    if any(extent < 1 for extent in kernel):
        raise InvalidModel(f"weights of shape {list(w)} have no window")
    return kernel


def _spatial_axes(x: tuple[int, ...], w: tuple[int, ...]) -> int:
    if len(x) < 3 or len(x) != len(w):
        raise InvalidModel(f"data of shape {list(x)} and weights of shape {list(w)}")
    return len(x) - 2
