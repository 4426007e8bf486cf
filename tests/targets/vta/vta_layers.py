"""Segments as NumPy computes them, from the formulas of `layers`, and as the simulator does."""

import numpy as np

from qcompile.targets.vta import functional
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.layers import MaxPool, Segment, Source, Sums, VtaTensor
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
    acc = np.zeros((n, height, width, channels), np.int64) + layer.bias
    for source in layer.sources:
        add(acc, source, values[source.tensor])
    shift = np.broadcast_to(layer.shift, (channels,)).astype(np.int64)
    total = ((acc + ((1 << shift) >> 1)) >> shift) + layer.zero_out
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


class Random:
    """Random segments that a configuration can compute. rng: their only randomness."""

    def __init__(self, rng, config):
        self.rng, self.config = rng, config
        self.tensors, self.layers = [], []

    def segment(self, layers):
        """A chain of layers, some of which also read tensors from further up."""
        current = self.tensor(
            "x", (self.pick(1, 1, 2), *self.rng.integers(1, 14, 2), self.channels())
        )
        self.tensors.append(current)
        for number in range(layers):
            make = self.pick(self.conv, self.conv, self.conv, self.pool, self.add, self.average)
            layer = make(f"layer{number}", current, last=number == layers - 1)
            self.layers.append(layer)
            current = layer.output
        names = tuple(each.name for each in self.tensors)
        return Segment("segment", tuple(self.tensors), names, (current.name,), tuple(self.layers))

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def channels(self):
        return int(self.pick(1, 3, 16, 20, 40))

    def tensor(self, name, shape, dtype="codes"):
        bits = self.config.inp_width
        bits = int(self.pick(bits, bits, max(bits // 2, 1), min(2 * bits, 8)))
        low = -(1 << (bits - 1))
        high = 0 if self.config.inp_width == 1 else -low - 1
        return VtaTensor(name, tuple(map(int, shape)), 0, low, high, dtype)

    def weights(self, shape):
        """Of as many bits as the hardware has, or of two digits; some blocks of zeros."""
        bits = self.config.wgt_width
        bits = int(self.pick(bits, bits, min(2 * bits, 8)))
        high = 1 if self.config.wgt_width == 1 else 1 << (bits - 1)
        found = self.rng.integers(-(1 << (bits - 1)), high, shape)
        return found * (self.rng.random((*shape[:1], 1, 1, *shape[3:])) < 0.9)

    def conv(self, name, x, last):
        height, width = x.shape[1:3]
        kernel = [int(min(self.pick(1, 2, 3, 3, 5), size)) for size in (height, width)]
        dilation = tuple(int(self.pick(1, 1, 2)) for _ in kernel)
        strides = tuple(int(self.pick(1, 1, 2, 3)) for _ in kernel)
        needed = [
            max(0, (k - 1) * d + 1 - s)
            for k, d, s in zip(kernel, dilation, x.shape[1:3], strict=True)
        ]
        padding = tuple(int(self.rng.integers(0, 3)) + needed[n % 2] for n in range(4))
        outputs = self.channels()
        weights = self.weights((outputs, *kernel, x.shape[3]))
        if outputs == x.shape[3] and self.pick(True, False):
            weights = weights * np.eye(outputs, dtype=int)[:, None, None, :]
        zero = int(self.pick(0, x.low, x.high))
        source = Source(x.name, weights, strides, padding, dilation, zero)
        sizes = [
            (x.shape[1 + a] + padding[a] + padding[a + 2] - (kernel[a] - 1) * dilation[a] - 1)
            // strides[a]
            + 1
            for a in (0, 1)
        ]
        return self.sums(name, (source,), (x.shape[0], *sizes, outputs), last)

    def add(self, name, x, last):
        """A residual: x times a factor, and a tensor of its shape times another."""
        other = self.tensor(name + "_other", x.shape)
        self.tensors.append(other)
        one = np.eye(x.shape[3], dtype=int)[:, None, None, :]
        sources = tuple(
            Source(
                each.name, one * self.weights((1, 1, 1, 1)).item(), zero=int(self.pick(0, each.low))
            )
            for each in (x, other)
        )
        return self.sums(name, sources, x.shape, last)

    def average(self, name, x, last):
        one = np.eye(x.shape[3], dtype=int)[:, None, None, :]
        factor = -1 if self.config.wgt_width == 1 else 1
        weights = factor * np.broadcast_to(one, (x.shape[3], *x.shape[1:3], x.shape[3]))
        return self.sums(name, (Source(x.name, weights),), (x.shape[0], 1, 1, x.shape[3]), last)

    def sums(self, name, sources, shape, last):
        y = self.tensor(name, shape, "sums" if last and self.rng.random() < 0.3 else "codes")
        shift = self.pick(0, 1, int(self.rng.integers(0, 16)), self.rng.integers(0, 10, shape[3]))
        if y.dtype == "sums":
            shift = 0
        low, high = sorted(self.rng.integers(y.low, y.high + 1, 2).tolist())
        bias = self.pick(
            self.rng.integers(-3000, 3000, shape[3]),
            np.full(shape[3], int(self.rng.integers(-9, 9))),
        )
        return Sums(name, sources, bias, shift, low, high, y, int(self.pick(0, low)))

    def pool(self, name, x, last):
        if self.config.wgt_width == 1:
            return self.conv(name, x, last)
        kernel = tuple(int(min(self.pick(1, 2, 3, 4), size)) for size in x.shape[1:3])
        strides = tuple(int(self.pick(1, 2, 3)) for _ in kernel)
        padding = tuple(int(self.rng.integers(0, kernel[n % 2])) for n in range(4))
        sizes = [
            (x.shape[1 + a] + padding[a] + padding[a + 2] - kernel[a]) // strides[a] + 1
            for a in (0, 1)
        ]
        y = VtaTensor(name, (x.shape[0], *sizes, x.shape[3]), 0, x.low, x.high)
        return MaxPool(name, x.name, kernel, strides, padding, y)
