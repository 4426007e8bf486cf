"""Random segments, for tests that hold plans to the integers of NumPy."""

import numpy as np

from qcompile.targets.vta.layers import MaxPool, Segment, Source, Sums, VtaTensor


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
        low_only = self.config.wgt_width == 1 and self.pick(True, True, False)
        high = 1 if low_only else 1 << (bits - 1)
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
        weights = np.broadcast_to(one, (x.shape[3], *x.shape[1:3], x.shape[3]))
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
        zero_out = int(self.pick(0, low))
        lift, terms = (0, ()) if y.dtype == "sums" else self.multiples(shape[3])
        return Sums(name, sources, bias, shift, low, high, y, zero_out, lift, terms)

    def multiples(self, channels):
        """How far sums are lifted, and the shifts of their further terms; often none."""
        lift = int(self.pick(0, 0, 1, 4))
        count = int(self.pick(0, 0, 1, 2, 3))
        amounts = [self.rng.integers(0, 16, channels) for _ in range(count)]
        return lift, tuple(self.pick(each, int(each[0])) for each in amounts)

    def pool(self, name, x, last):
        kernel = tuple(int(min(self.pick(1, 2, 3, 4), size)) for size in x.shape[1:3])
        strides = tuple(int(self.pick(1, 2, 3)) for _ in kernel)
        padding = tuple(int(self.rng.integers(0, kernel[n % 2])) for n in range(4))
        sizes = [
            (x.shape[1 + a] + padding[a] + padding[a + 2] - kernel[a]) // strides[a] + 1
            for a in (0, 1)
        ]
        y = VtaTensor(name, (x.shape[0], *sizes, x.shape[3]), 0, x.low, x.high)
        return MaxPool(name, x.name, kernel, strides, padding, y)
