"""Inputs with few channels, gathered on the host so that they fill the blocks of VTA's channels.

    x (N, H, W, C) -> x' (N, H', OW, KH' KW C)   x'[n, i, j, (u, v, c)] = x[n, row, column, c]
    row = i S + u D - top, column = j s + v d - left; the zero point outside the image

of a convolution of KH x KW whose columns (KH' = 1, S = 1, H' = H), or rows as well (KH' = KH), then
are channels: its weights are the same in another shape. Of 3 channels in blocks of 16, a 3 x 3
convolution takes three products a pixel in place of nine. Chosen by what takes longest, products or
loads; only for inputs that one source alone reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from qcompile.schedules.blocked import Windows
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Layer, Source, Sums, VtaTensor

PORT_BYTES = 8  # of the narrowest DRAM port
GAIN = 0.6  # of the time, at most: the host gathers every pixel several times


@dataclass(frozen=True, eq=False)
class Gathered:
    """An input as the host gathers it, and the layers that read it so."""

    tensor: VtaTensor
    windows: Windows
    layers: tuple[Layer, ...]


def gathered(tensor: VtaTensor, layers: Sequence[Layer], config: Config) -> Gathered | None:
    """The input `tensor` of layers in windows; None where that gains little."""
    readers = [
        (layer, source)
        for layer in layers
        for source in (layer.sources if isinstance(layer, Sums) else ())
        if source.tensor == tensor.name
    ]
    pools = any(not isinstance(layer, Sums) and layer.tensor == tensor.name for layer in layers)
    if len(readers) != 1 or pools:
        return None
    layer, source = readers[0]
    assert isinstance(layer, Sums)
    plain = _time(layer, source, tensor.shape, config)
    forms = [_form(tensor, layer, source, rows=rows) for rows in (False, True)]
    times = [_time(layer, form[1], form[0].shape, config) for form in forms]
    best = min(range(len(forms)), key=lambda k: times[k])
    if times[best] > GAIN * plain:
        return None
    made, read, windows = forms[best]
    sources = tuple(read if each is source else each for each in layer.sources)
    others = tuple(replace(each, sources=sources) if each is layer else each for each in layers)
    return Gathered(made, windows, others)


def _form(
    tensor: VtaTensor, layer: Sums, source: Source, *, rows: bool
) -> tuple[VtaTensor, Source, Windows]:
    """The columns of the window as channels, or its rows as well."""
    images, height, _, channels = tensor.shape
    outputs, kh, kw, _ = source.weights.shape
    top, left, bottom, _ = source.padding
    _, output_height, width, _ = layer.output.shape
    taps = kh if rows else 1
    windows = Windows(
        kernel=(taps, kw),
        strides=(source.strides[0] if rows else 1, source.strides[1]),
        dilation=(source.dilation[0] if rows else 1, source.dilation[1]),
        padding=(top if rows else 0, left),
        zero=source.zero + tensor.offset,
    )
    shape = (images, output_height if rows else height, width, taps * kw * channels)
    made = replace(
        tensor,
        name=f"{tensor.name}.windows",
        shape=shape,
        low=min(tensor.low, source.zero),
        high=max(tensor.high, source.zero),
    )
    read = Source(
        tensor=made.name,
        weights=source.weights.reshape(outputs, kh // taps, 1, shape[3]),
        strides=(1 if rows else source.strides[0], 1),
        padding=(0, 0, 0, 0) if rows else (top, 0, bottom, 0),
        dilation=(1 if rows else source.dilation[0], 1),
        zero=source.zero,
    )
    return made, read, windows


def _time(layer: Sums, source: Source, shape: tuple[int, ...], config: Config) -> float:
    """Cycles of the products, or of the loads where these take longer."""
    inner, outer = -(-shape[3] // config.block_in), -(-layer.output.shape[3] // config.block_out)
    steps = prod(layer.output.shape[:3]) * prod(source.weights.shape[1:3]) * inner * outer
    loaded = prod(shape[:3]) * inner * config.block_in * config.inp_width / 8
    return max(steps / config.batch, loaded / PORT_BYTES)
