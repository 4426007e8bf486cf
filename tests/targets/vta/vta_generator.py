"""Random legal programs of the portable subset, double buffered in all buffers.

Round k uses half k % 2 of INP, WGT, ACC and OUT. LOAD, COMPUTE and STORE of different rounds run
at the same time; the tokens order exactly what shares a half.
"""

from dataclasses import replace

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
    Uop,
    no_op,
)

BASE = 0x1000
SPAN = 0x2000  # bytes of each area of the image: INP, WGT, ACC, OUT, UOP
AREAS = {buffer: BASE + n * SPAN for n, buffer in enumerate((2, 1, 3, 4, 0))}


def small(block=2, batch=0, inp=3, wgt=3, acc=5, depth=6):
    """A configuration of few elements: depths of INP and ACC 2^depth, of WGT 2^(depth - 1)."""
    return replace(
        DEFAULT,
        log_inp_width=inp,
        log_wgt_width=wgt,
        log_acc_width=acc,
        log_batch=batch,
        log_block=block,
        log_uop_buff_size=10,
        log_inp_buff_size=depth - 3 + batch + block + inp,
        log_wgt_buff_size=depth - 1 - 3 + 2 * block + wgt,
        log_acc_buff_size=depth - 3 + batch + block + acc,
    )


class Generator:
    def __init__(self, config, seed, rounds=4):
        self.config = config
        self.random = np.random.default_rng(seed)
        self.rounds = rounds
        self.uops = []
        self.image = self.random.integers(0, 256, len(AREAS) * SPAN, dtype=np.uint8)

    def program(self):
        """(instructions, image)"""
        found = []
        for k in range(self.rounds):
            found += self.link(self.loads(k), Tokens(pop_next=k >= 2), Tokens(push_next=True))
            found += self.computation(k)
            found += self.link(self.stores(k), Tokens(pop_prev=True), Tokens(push_prev=True))
        for k in range(min(2, self.rounds)):
            found.append(no_op(Queue.LOAD, Tokens(pop_next=True, push_next=k == 1)))
        for k in range(min(2, self.rounds)):
            found.append(no_op(Queue.COMPUTE, Tokens(pop_next=True, pop_prev=k == 1)))
        at = AREAS[Buffer.UOP] - BASE
        words = np.frombuffer(encode_uops(self.config, self.uops), np.uint8)
        self.image[at : at + len(words)] = words
        return [*found, Finish()], self.image

    def link(self, instructions, first, last):
        """The same with the flags of `first` on the first and of `last` on the last."""
        instructions[0] = self.with_flags(instructions[0], first)
        instructions[-1] = self.with_flags(instructions[-1], last)
        return instructions

    @staticmethod
    def with_flags(one, flags):
        pairs = zip(_flags(one.tokens), _flags(flags), strict=True)
        return replace(one, tokens=Tokens(*(a or b for a, b in pairs)))

    def number(self, low, high):
        """low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def half(self, buffer, k):
        size = self.config.depth(buffer) // 2
        return (k % 2) * size, size

    def transfer(self, buffer, begin, size, pads=False):
        """A random block of at most `size` elements."""
        y_size, x_size = self.number(1, 4), self.number(1, 4)
        y0, y1, x0, x1 = (self.number(0, 2) if pads else 0 for _ in range(4))
        if (y0 + y_size + y1) * (x0 + x_size + x1) > size:
            y_size, x_size, (y0, y1, x0, x1) = 1, 1, (0, 0, 0, 0)
        count = (y0 + y_size + y1) * (x0 + x_size + x1)
        stride = self.number(x_size, 8)
        room = SPAN // self.config.element_bytes(buffer) - y_size * stride
        first = AREAS[buffer] // self.config.element_bytes(buffer)
        return (
            begin + self.number(0, size - count), first + self.number(0, room),
            y_size, x_size, stride, (y0, y1, x0, x1),
        )  # fmt: skip

    def whole(self, buffer, k):
        """Fills the half of round k."""
        begin, size = self.half(buffer, k)
        room = SPAN // self.config.element_bytes(buffer) - size
        first = AREAS[buffer] // self.config.element_bytes(buffer)
        return Load(buffer, begin, first + self.number(0, room), 1, size, size)

    def loads(self, k):
        found = [self.whole(Buffer.INP, k), self.whole(Buffer.WGT, k)]
        for _ in range(self.number(0, 3)):
            buffer = Buffer(self.number(1, 2))
            found.append(Load(buffer, *self.transfer(buffer, *self.half(buffer, k), buffer == 2)))
        return found

    def stores(self, k):
        found = []
        for _ in range(self.number(1, 3)):
            found.append(Store(*self.transfer(Buffer.OUT, *self.half(Buffer.OUT, k))[:-1]))
        return found

    def computation(self, k):
        body = [self.whole(Buffer.ACC, k)]
        first_uop = len(self.uops)
        kinds = [self.number(0, 4) for _ in range(self.number(2, 7))]
        for kind in kinds:
            if kind == 0:
                block = self.transfer(Buffer.ACC, *self.half(Buffer.ACC, k), True)
                body.append(Load(Buffer.ACC, *block))
            else:
                make = self.gemm if kind < 3 else self.alu
                body.append(make(k, first_uop))
        begin, size = self.half(Buffer.ACC, k)
        self.uops.append(Uop(begin, begin))
        last = len(self.uops) - 1 - first_uop
        body.append(Alu(AluOp.ADD, (last, last + 1), (1, size), (0, 1), (0, 1), 0))
        # The next block of micro-ops begins at a multiple of 8 bytes.
        self.uops += [Uop(0, 0)] * (len(self.uops) % 2)
        count = len(self.uops) - first_uop
        address = AREAS[Buffer.UOP] // 4 + first_uop
        body.insert(0, Load(Buffer.UOP, 0, address, 1, count, count))
        taken = Tokens(pop_prev=True, pop_next=k >= 2)
        return self.link(body, taken, Tokens(push_prev=True, push_next=True))

    def loops(self, sizes, first_uop, same_src=False):
        """Micro-ops, extents and factors whose indices stay in halves; dst far enough apart."""
        while True:
            extents = (self.number(1, 3), self.number(1, 4))
            steps = [(self.number(0, 4), self.number(0, 4)) for _ in sizes]
            count = self.number(1, 4)
            reach = [(extents[0] - 1) * outer + (extents[1] - 1) * inner for outer, inner in steps]
            if any(far >= size for far, (_, size) in zip(reach, sizes, strict=True)):
                continue
            table = [
                [
                    begin + self.number(0, size - 1 - far)
                    for far, (begin, size) in zip(reach, sizes, strict=True)
                ]
                for _ in range(count)
            ]
            if same_src:
                steps[1] = steps[0]
                table = [[row[0], row[0], *row[2:]] for row in table]
            dst, src = (
                [
                    row[column] + y * steps[column][0] + x * steps[column][1]
                    for y in range(extents[0])
                    for x in range(extents[1])
                    for row in table
                ]
                for column in (0, 1)
            )
            if len(sizes) == 3:
                src = dst
            if all(
                dst[i - n] not in (dst[i], src[i]) for i in range(len(dst)) for n in (1, 2, 3)
                if i >= n
            ):  # fmt: skip
                break
        begin = len(self.uops) - first_uop
        self.uops += [Uop(*row) for row in table]
        return (begin, begin + count), extents, *steps

    def gemm(self, k, first_uop):
        sizes = [self.half(buffer, k) for buffer in (Buffer.ACC, Buffer.INP, Buffer.WGT)]
        return Gemm(*self.loops(sizes, first_uop), reset=self.number(0, 4) == 0)

    def alu(self, k, first_uop):
        half = self.half(Buffer.ACC, k)
        op = AluOp(self.number(0, 3))
        if op == AluOp.SHR or self.number(0, 1):
            limit = self.config.acc_width // 2
            low, high = (-limit, limit - 1) if op == AluOp.SHR else (-(2**15), 2**15 - 1)
            loops = self.loops([half, half], first_uop, same_src=True)
            return Alu(op, *loops, self.number(low, high))
        return Alu(op, *self.loops([half, half], first_uop))


def _flags(tokens):
    return tokens.pop_prev, tokens.pop_next, tokens.push_prev, tokens.push_next
