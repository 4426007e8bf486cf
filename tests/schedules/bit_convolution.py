"""Convolutions of bit planes under test: operands, kernels, and what NumPy computes."""

import numpy as np

from qcompile.schedules.conv2d_bits import conv2d_bits
from qcompile.schedules.conv2d_bits_plan import plan_conv2d_bits
from tests.schedules.bits import WIDTHS, packed_words
from tests.schedules.kernels import fused_function


def width_of(case):
    """One of all widths."""
    return WIDTHS[sum(case.data) % len(WIDTHS)]


def operands(case, width, seed):
    """Codes, values of weights, bias, scale; all codes alike for the first seed."""
    rng = np.random.default_rng(seed)
    codes = width.data(rng, case.data)
    values = width.weights(rng, (case.outputs, *case.kernel, case.data[3] // case.groups))
    if seed == 0:
        codes[:] = 2**width.data_bits - 1
        values[:] = values.min()
    scale = rng.random(case.outputs, "float32") * np.float32(1e-1)
    return codes, values, rng.integers(-(2**20), 2**20, case.outputs, dtype="int32"), scale


def prepared(codes, case, width, plan, zero, rng):
    """The words of codes padded with `zero` where the convolution reads, else anything."""
    top, left, bottom, right = case.pads
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(codes, padding, constant_values=zero)
    planes = width.data_planes(padded)
    parts = [
        packed_words([np.split(p, case.groups, -1)[g] for p in planes]) for g in range(case.groups)
    ]
    words = np.concatenate(parts, -1)
    full = rng.integers(0, 2**32, plan.input_shape, "uint32")
    full[:, : words.shape[1], : words.shape[2]] = words
    return full


def convolve(codes, values, case, width, zero):
    """The weighted sums of all planes, int64, without a bias; `zero` pads."""
    top, left, bottom, right = case.pads
    padding = ((0, 0), (top, bottom), (left, right), (0, 0))
    x = np.pad(codes, padding, constant_values=zero).astype("float64")
    constant = 0
    if width.operation == "xor":
        most = 2**width.data_bits - 1
        x = 2 * x - most
        constant = most * (2**width.weight_bits - 1) * values[0].size
    return correlate(x, values, case).astype("int64") - constant


def correlate(x, values, case):
    """The sums over the windows of x, padded, exact in float64."""
    (dh, dw) = case.dilation
    extent = (case.kernel[0] - 1) * dh + 1, (case.kernel[1] - 1) * dw + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    windows = windows[:, :: case.strides[0], :: case.strides[1], :, ::dh, ::dw]
    windows = np.split(windows, case.groups, axis=3)
    weights = np.split(values.astype("float64"), case.groups)
    sums = [
        np.einsum("nijcpq,opqc->nijo", *pair, optimize=True)
        for pair in zip(windows, weights, strict=True)
    ]
    return np.concatenate(sums, axis=3)


def plan_of(case, width, target, form=None):
    shape = case.outputs, *case.kernel, case.data[3] // case.groups
    return plan_conv2d_bits(
        case.data,
        shape,
        width.planes,
        target,
        pads=case.pads,
        strides=case.strides,
        dilation=case.dilation,
        groups=case.groups,
        form=form,
    )


def kernel(plan, epilogue, extra, bias=None):
    """The function; its bias is one for each channel, or of the given shape."""
    inputs = [
        (plan.input_shape, "uint32"),
        (plan.weight_shape, "uint32"),
        (bias or (plan.out_channels,), plan.planes.sum_type),
        *extra,
    ]
    return fused_function(inputs, lambda x, w, b: conv2d_bits(x, w, b, plan, "layer"), epilogue, 3)
