"""Segments as NumPy computes them, from the formulas of `layers`, and as the simulator does."""

import numpy as np

from qcompile.targets.vta import functional
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.layers import MaxPool, Source, Sums
from qcompile.targets.vta.planner.packing import packed, unpacked


def reference(segment, inputs):
    """By name, all tensors of the segment as int64 arrays."""
    values = {name: np.asarray(value, np.int64) for name, value in inputs.items()}
    for layer in segment.layers:
        compute = pooled if isinstance(layer, MaxPool) else summed
        values[layer.output.name] = compute(layer, values)
    return values


def summed(layer: Sums, values):
    n, height, width, channels = layer.output.shape
    acc = np.zeros((n, height, width, channels), np.int64)
    for source in layer.sources:
        add(acc, source, values[source.tensor])
    acc = (acc << layer.lift) + layer.bias
    shift = np.broadcast_to(layer.shift, (channels,)).astype(np.int64)
    total = acc.copy() if layer.terms else acc + ((1 << shift) >> 1)
    for amounts in layer.terms:
        total += acc >> amounts
    total = (total >> shift) + layer.zero_out
    return total if layer.output.dtype == "sums" else np.clip(total, layer.low, layer.high)


def add(acc, source: Source, x):
    """Adds one source tap by tap, output position by output position."""
    (top, left), weights = source.padding[:2], source.weights.astype(np.int64)
    for u, v in np.ndindex(*weights.shape[1:3]):
        rows = np.arange(acc.shape[1]) * source.strides[0] + u * source.dilation[0] - top
        columns = np.arange(acc.shape[2]) * source.strides[1] + v * source.dilation[1] - left
        inside_rows = np.flatnonzero((rows >= 0) & (rows < x.shape[1]))
        inside_columns = np.flatnonzero((columns >= 0) & (columns < x.shape[2]))
        taken = x[:, rows[inside_rows]][:, :, columns[inside_columns]] - source.zero
        part = np.einsum("nijc,oc->nijo", taken, weights[:, u, v])
        acc[:, inside_rows[:, None], inside_columns] += part


def pooled(layer: MaxPool, values):
    x, (_, height, width, _) = values[layer.tensor], layer.output.shape
    top, left, bottom, right = layer.padding
    fill = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(x, fill, constant_values=np.iinfo(np.int64).min)
    (kh, kw), (sh, sw) = layer.kernel, layer.strides
    windows = [
        padded[:, u : u + sh * (height - 1) + 1 : sh, v : v + sw * (width - 1) + 1 : sw]
        for u in range(kh)
        for v in range(kw)
    ]
    return np.max(windows, axis=0)


def simulated(program, inputs, outputs):
    """By name, the outputs that the functional simulator leaves in memory."""
    image = program.image.copy()
    for name, value in inputs.items():
        place = program.placements[name]
        part(image, place)[:] = packed(value, place, program.config)
    functional.run(program.config, program.instructions, image)
    return {
        name: unpacked(part(image, place), place, program.config)
        for name, place in program.placements.items()
        if name in outputs
    }


def part(image, place):
    first = place.address - IMAGE_ADDRESS
    return image[first : first + place.bytes]
