"""A double-buffered convolution, scheduled directly, and its result by NumPy.

Tiles of output rows and output blocks; within a tile, steps over the blocks of input channels.
Step s uses half s % 2 of INP and WGT, tile t half t % 2 of ACC and OUT.
"""

from dataclasses import dataclass, replace

import numpy as np

from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.encoding import encode_uops
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Load,
    Queue,
    Store,
    Tokens,
    no_op,
)

BASE = 0x1000
PAGE = 64
SHIFT = 6


@dataclass
class Conv:
    """H W: input; C O: channels, multiples of the block; K: kernel; rows, blocks: of a tile."""

    h: int
    w: int
    c: int
    o: int
    k: int = 3
    stride: int = 1
    rows: int = 2
    blocks: int = 4
    config: object = DEFAULT

    def __post_init__(self):
        config = self.config
        self.pad = self.k // 2
        self.oh, self.ow = self.h // self.stride, self.w // self.stride
        self.ci, self.co = self.c // config.block_in, self.o // config.block_out
        self.halves = {buffer: config.depth(buffer) // 2 for buffer in Buffer}
        self.pitch = (self.ow - 1) * self.stride + self.k
        self.tiles = [
            (block, row)
            for block in range(0, self.co, self.blocks)
            for row in range(0, self.oh, self.rows)
        ]
        sizes = {
            "inp": self.ci * self.h * self.w * config.element_bytes(Buffer.INP),
            "wgt": self.ci * self.co * self.k**2 * config.element_bytes(Buffer.WGT),
            "out": self.co * self.oh * self.ow * config.element_bytes(Buffer.OUT),
        }
        self.at, end = {}, BASE
        for name, size in sizes.items():
            end = -(-end // 4096) * 4096
            self.at[name], end = end, end + size
        self.at["uop"] = -(-end // PAGE) * PAGE

    def uops(self):
        """An elementwise micro-op for each ACC half, then a block for each pair of halves."""
        acc, inp, wgt = (self.halves[b] for b in (Buffer.ACC, Buffer.INP, Buffer.WGT))
        table = [(0, 0, 0), (acc, acc, 0)]
        for half in range(4):
            a, i = half // 2, half % 2
            for y in range(self.k):
                for x in range(self.k):
                    for block in range(self.blocks):
                        dst = a * acc + block * self.rows * self.ow
                        weight = i * wgt + block * self.k**2 + y * self.k + x
                        table.append((dst, i * inp + y * self.pitch + x, weight))
        return table

    def image(self, seed=0):
        """(image, activations (C, H, W), weights (O, C, K, K))"""
        rng, config = np.random.default_rng(seed), self.config
        data = rng.integers(-128, 128, (self.c, self.h, self.w), dtype=np.int8)
        weights = rng.integers(-128, 128, (self.o, self.c, self.k, self.k), dtype=np.int8)
        words = encode_uops(config, self.uops())
        image = np.zeros(self.at["uop"] - BASE + len(words), np.uint8)
        blocked = data.reshape(self.ci, -1, self.h, self.w).transpose(0, 2, 3, 1)
        tiles = weights.reshape(self.co, config.block_out, self.ci, -1, self.k, self.k)
        for name, array in (("inp", blocked), ("wgt", tiles.transpose(0, 2, 4, 5, 1, 3))):
            flat = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            image[self.at[name] - BASE :][: flat.size] = flat
        image[self.at["uop"] - BASE :] = np.frombuffer(words, np.uint8)
        return image, data, weights

    def result(self, image):
        """(O, OH, OW) as the image holds it."""
        begin = self.at["out"] - BASE
        size = self.o * self.oh * self.ow
        blocked = image[begin : begin + size].view(np.int8)
        blocked = blocked.reshape(self.co, self.oh, self.ow, -1).transpose(0, 3, 1, 2)
        return blocked.reshape(self.o, self.oh, self.ow)

    def expected(self, data, weights):
        total = np.zeros((self.o, self.oh, self.ow), np.int64)
        padded = np.pad(data.astype(float), ((0, 0), *[(self.pad, self.pad)] * 2))
        for y in range(self.k):
            for x in range(self.k):
                rows = padded[:, y :: self.stride, x :: self.stride][:, : self.oh, : self.ow]
                # float64 holds these sums exactly and multiplies fast.
                total += np.tensordot(weights[:, :, y, x].astype(float), rows, 1).astype(np.int64)
        return np.clip(total >> SHIFT, 0, 127)

    def program(self):
        table = len(self.uops())
        found = [Load(Buffer.UOP, 0, self.at["uop"] // 4, 1, table, table)]
        step = 0
        for t, (block, row) in enumerate(self.tiles):
            size = self.blocks * self.rows * self.ow
            half = t % 2
            every = ((half, half + 1), (1, size), (0, 1))
            found.append(Gemm(*every, reset=True, tokens=Tokens(pop_next=t >= 2)))
            for channel in range(self.ci):
                found += self.loads(step, channel, block, row)
                count = self.k**2 * self.blocks
                first = 2 + (2 * half + step % 2) * count
                spatial = ((self.ow, 1), (self.stride * self.pitch, self.stride))
                found.append(
                    Gemm(
                        (first, first + count), (self.rows, self.ow), *spatial,
                        tokens=Tokens(pop_prev=True, push_prev=True),
                    )
                )  # fmt: skip
                step += 1
            for op, value in ((AluOp.SHR, SHIFT), (AluOp.MAX, 0), (AluOp.MIN, 127)):
                last = Tokens(push_next=op == AluOp.MIN)
                found.append(Alu(op, *every, (0, 1), value, last))
            found.append(self.store(t, block, row))
        return [*found, *self.drained(step, len(self.tiles)), Finish()]

    def loads(self, step, channel, block, row):
        inp, wgt = ((step % 2) * self.halves[b] for b in (Buffer.INP, Buffer.WGT))
        first = row * self.stride - self.pad
        last = (row + self.rows - 1) * self.stride - self.pad + self.k
        top, bottom = max(0, -first), max(0, last - self.h)
        right = self.pitch - self.w - self.pad
        width = min(self.w, self.pitch - self.pad)
        at = self.at["inp"] // self.config.element_bytes(Buffer.INP)
        start = at + (channel * self.h + first + top) * self.w
        rows = last - first - top - bottom
        pads = (top, bottom, self.pad, max(0, right))
        kernel = self.k**2
        weights = self.at["wgt"] // self.config.element_bytes(Buffer.WGT)
        weights += (block * self.ci + channel) * kernel
        return [
            Load(Buffer.INP, inp, start, rows, width, self.w, pads, Tokens(pop_next=step >= 2)),
            Load(
                Buffer.WGT, wgt, weights, self.blocks, kernel, self.ci * kernel,
                tokens=Tokens(push_next=True),
            ),
        ]  # fmt: skip

    def store(self, t, block, row):
        at = self.at["out"] // self.config.element_bytes(Buffer.OUT)
        base = (t % 2) * self.halves[Buffer.ACC]
        start = at + (block * self.oh + row) * self.ow
        tokens = Tokens(pop_prev=True, push_prev=True)
        size = self.rows * self.ow
        return Store(base, start, self.blocks, size, self.oh * self.ow, tokens)

    @staticmethod
    def drained(steps, tiles):
        """Takes the tokens that are left; FINISH comes after all that LOAD and STORE do."""
        loads = min(2, steps)
        for n in range(loads):
            yield no_op(Queue.LOAD, Tokens(pop_next=True, push_next=n == loads - 1))
        for n in range(min(2, tiles)):
            yield no_op(Queue.COMPUTE, Tokens(pop_next=True, pop_prev=n == 0))


RESNET18 = [
    (Conv(56, 56, 64, 64, rows=4), 4),
    (Conv(56, 56, 64, 128, stride=2, rows=7), 1),
    (Conv(56, 56, 64, 128, k=1, stride=2, rows=7), 1),
    (Conv(28, 28, 128, 128, rows=7), 3),
    (Conv(28, 28, 128, 256, stride=2, rows=14), 1),
    (Conv(28, 28, 128, 256, k=1, stride=2, rows=14), 1),
    (Conv(14, 14, 256, 256, rows=14), 3),
    (Conv(14, 14, 256, 512, stride=2, rows=7), 1),
    (Conv(14, 14, 256, 512, k=1, stride=2, rows=7), 1),
    (Conv(7, 7, 512, 512, rows=7), 3),
]


def without(instructions, n, flag):
    """The program whose instruction n has one flag less."""
    one = instructions[n]
    less = replace(one, tokens=replace(one.tokens, **{flag: False}))
    return [*instructions[:n], less, *instructions[n + 1 :]]
