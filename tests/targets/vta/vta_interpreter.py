"""A plain interpreter of VTA programs, written from the specification, one scalar at a time.

It runs the queues in any order that the tokens allow: `choose` picks among the modules that can
go on. Contents that were never written are missing keys.
"""

from collections import deque

from qcompile.targets.vta.config import Buffer
from qcompile.targets.vta.instructions import Alu, AluOp, Finish, Gemm, Load, Queue, Store

BASE = 0x1000


class Stuck(Exception):
    """No module can go on, or tokens are left."""


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def scalars(data, width):
    """Scalar n occupies bits n*w .. n*w + w - 1 of the element as one little-endian integer."""
    whole = int.from_bytes(data, "little")
    return [signed(whole >> (n * width), width) for n in range(8 * len(data) // width)]


def element(values, width):
    whole = sum((value & ((1 << width) - 1)) << (n * width) for n, value in enumerate(values))
    return whole.to_bytes(len(values) * width // 8, "little")


class Interpreter:
    def __init__(self, config, image):
        self.config = config
        self.image = image
        self.memory = {buffer: {} for buffer in Buffer}

    def run(self, instructions, choose):
        queues = {queue: deque() for queue in Queue}
        for one in instructions:
            queues[self.queue(one)].append(one)
        tokens = dict.fromkeys(("LC", "CL", "CS", "SC"), 0)
        while any(queues.values()):
            ready = [
                queue
                for queue, waiting in queues.items()
                if waiting and all(tokens[pair] for pair in self.pops(queue, waiting[0].tokens))
            ]
            if not ready:
                raise Stuck
            queue = choose(ready)
            one = queues[queue].popleft()
            for pair in self.pops(queue, one.tokens):
                tokens[pair] -= 1
            self.execute(one)
            for pair in self.pushes(queue, one.tokens):
                tokens[pair] += 1
        if any(tokens.values()):
            raise Stuck

    @staticmethod
    def queue(one):
        if isinstance(one, Load) and one.memory in (Buffer.INP, Buffer.WGT):
            return Queue.LOAD
        return Queue.STORE if isinstance(one, Store) else Queue.COMPUTE

    @staticmethod
    def pops(queue, t):
        before = {Queue.COMPUTE: "LC", Queue.STORE: "CS"}
        after = {Queue.LOAD: "CL", Queue.COMPUTE: "SC"}
        return [before.get(queue)] * t.pop_prev + [after.get(queue)] * t.pop_next

    @staticmethod
    def pushes(queue, t):
        before = {Queue.COMPUTE: "CL", Queue.STORE: "SC"}
        after = {Queue.LOAD: "LC", Queue.COMPUTE: "CS"}
        return [before.get(queue)] * t.push_prev + [after.get(queue)] * t.push_next

    def execute(self, one):
        match one:
            case Finish():
                return
            case Load():
                self.load(one)
            case Store():
                self.store(one)
            case Gemm():
                self.gemm(one)
            case Alu():
                self.alu(one)

    def load(self, one):
        if one.x_size == 0:
            return
        config, size = self.config, self.config.element_bytes(one.memory)
        y0, y1, x0, x1 = one.pads
        place = one.sram_base
        for y in range(y0 + one.y_size + y1):
            for x in range(x0 + one.x_size + x1):
                data = bytes(size)
                if y0 <= y < y0 + one.y_size and x0 <= x < x0 + one.x_size:
                    index = one.dram_base + (y - y0) * one.x_stride + (x - x0)
                    at = index * size - BASE
                    data = bytes(self.image[at : at + size])
                assert place < config.depth(one.memory)
                self.memory[one.memory][place] = scalars(data, config.width(one.memory))
                place += 1

    def store(self, one):
        size = self.config.element_bytes(Buffer.OUT)
        for y in range(one.y_size):
            for x in range(one.x_size):
                values = self.memory[Buffer.OUT][one.sram_base + y * one.x_size + x]
                at = (one.dram_base + y * one.x_stride + x) * size - BASE
                for n, byte in enumerate(element(values, self.config.out_width)):
                    self.image[at + n] = byte

    def uop(self, place):
        word = self.memory[Buffer.UOP][place][0]
        a, s, w = self.config.acc_bits, self.config.src_bits, self.config.wgt_bits
        dst, word = word % (1 << a), word >> a
        src, word = word % (1 << s), word >> s
        return dst, src, word % (1 << w)

    def gemm(self, one):
        config = self.config
        acc, out = self.memory[Buffer.ACC], self.memory[Buffer.OUT]
        blocks = range(config.block_in)
        for y in range(one.extents[0]):
            for x in range(one.extents[1]):
                for u in range(*one.uops):
                    dst, src, wgt = self.uop(u)
                    dst += y * one.dst[0] + x * one.dst[1]
                    if one.reset:
                        acc[dst] = [0] * (config.batch * config.block_out)
                        out.pop(dst, None)
                        continue
                    inp = self.memory[Buffer.INP][src + y * one.src[0] + x * one.src[1]]
                    weights = self.memory[Buffer.WGT][wgt + y * one.wgt[0] + x * one.wgt[1]]
                    sums = []
                    for b in range(config.batch):
                        for o in range(config.block_out):
                            dot = sum(
                                inp[b * config.block_in + i] * weights[o * config.block_in + i]
                                for i in blocks
                            )
                            old = acc[dst][b * config.block_out + o]
                            sums.append(signed(old + dot, config.acc_width))
                    acc[dst] = sums
                    out[dst] = [signed(value, config.out_width) for value in sums]

    def alu(self, one):
        config = self.config
        acc, out = self.memory[Buffer.ACC], self.memory[Buffer.OUT]
        for y in range(one.extents[0]):
            for x in range(one.extents[1]):
                for u in range(*one.uops):
                    dst, src, _ = self.uop(u)
                    dst += y * one.dst[0] + x * one.dst[1]
                    src += y * one.src[0] + x * one.src[1]
                    first = acc[dst]
                    second = acc[src] if one.immediate is None else [one.immediate] * len(first)
                    acc[dst] = [
                        signed(self.operate(one.op, a, c), config.acc_width)
                        for a, c in zip(first, second, strict=True)
                    ]
                    out[dst] = [signed(value, config.out_width) for value in acc[dst]]

    @staticmethod
    def operate(op, a, c):
        match op:
            case AluOp.MIN:
                return min(a, c)
            case AluOp.MAX:
                return max(a, c)
            case AluOp.ADD:
                return a + c
            case AluOp.SHR:
                return a >> c if c >= 0 else a << -c
            case AluOp.MUL:
                return a * c
