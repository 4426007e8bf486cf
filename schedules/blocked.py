"""Tensors in VTA's layout and back.

    blocked[p, n, c, h, w, b, byte]   the scalars x[n * BATCH + b, h, w, c * BLOCK + i] - offset

i counts through the scalars of `width` bits of the bytes, from the lowest bits up; channels and
images beyond the tensor's are 0. A number wider than that is digits, plane p the p-th: of codes
signed ones, v = sum of 2^(width p) digit_p; of sums (int32) the bits as they are. Elements are
independent: the schedules of elementwise blocks serve.
"""

from dataclasses import dataclass

from tvm import te, tirx

BYTE_BITS = 8
SUM_BITS = 32


@dataclass(frozen=True)
class Windows:
    """Windows whose elements become channels, row by row. padding: (top, left); zero: outside."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    zero: int


@dataclass(frozen=True)
class Blocks:
    """The layout of one tensor. width: bits of a scalar, at most 8; batch and block in scalars."""

    planes: int
    batch: int
    block: int
    width: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the blocked tensor of bytes, for a tensor of shape (N, H, W, C)."""
        n, h, w, c = shape
        outer = (self.planes, -(-n // self.batch), -(-c // self.block), h, w)
        return (*outer, self.batch, self.block * self.width // BYTE_BITS)

    @property
    def scalars(self) -> int:
        """Of one byte."""
        return BYTE_BITS // self.width


def blocked(x: te.Tensor, shape: tuple[int, ...], blocks: Blocks, offset: int) -> te.Tensor:
    """The bytes (uint8) of codes. x: int8 or uint8, of any shape that is (N, H, W, C) in order."""
    n, _, _, c = shape
    half, mask = _number(1 << (blocks.width - 1)), _number((1 << blocks.width) - 1)

    def digit(plane: tirx.Var, value: tirx.Expr) -> tirx.Expr:
        """The bits of a digit: the rest of the lower ones is (v + half) >> width, once for each."""
        rests = [value]
        for _ in range(blocks.planes - 1):
            rests.append((rests[-1] + half) >> _number(blocks.width))
        chosen = rests[-1]
        for k in reversed(range(blocks.planes - 1)):
            chosen = tirx.Select(plane == k, rests[k], chosen)
        return chosen & mask

    def entry(*i: tirx.Var) -> tirx.Expr:
        plane, images, channels, h, w, b, byte = i
        image = images * blocks.batch + b
        bits = _number(0)
        for k in range(blocks.scalars):
            channel = channels * blocks.block + byte * blocks.scalars + k
            code = _at(x, shape, (image, h, w, channel)).astype("int16")
            found = digit(plane, code - _number(offset))
            inside = _inside((image, n, blocks.batch), (channel, c, blocks.block))
            if inside is not None:
                found = tirx.if_then_else(inside, found, _number(0))
            bits = bits | (found << _number(blocks.width * k)) if k else found
        return bits.astype("uint8")

    return te.compute(blocks.shape(shape), entry, name="blocked")


def gathered(
    x: te.Tensor, shape: tuple[int, ...], windows: Windows, blocks: Blocks, offset: int
) -> te.Tensor:
    """The bytes of windows of an image, blocked. x: (N, H, W, C); shape: with windows as channels.

    Windows in a row of pixels without gaps are one run of memory: x is read as (N, H, W C).
    """
    _, height, width, channels = (int(extent) for extent in x.shape)
    (columns, strides), dilation = (windows.kernel[1], windows.strides), windows.dilation

    def entry(n: tirx.Var, i: tirx.Var, j: tirx.Var, channel: tirx.Var) -> tirx.Expr:
        u, rest = channel // (columns * channels), channel % (columns * channels)
        row = i * strides[0] + u * dilation[0] - windows.padding[0]
        column = j * strides[1] + rest // channels * dilation[1] - windows.padding[1]
        inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
        zero = tirx.const(windows.zero, x.dtype)
        return tirx.if_then_else(inside, x(n, row, column, rest % channels), zero)

    image = te.compute(shape, entry, name="gathered")
    return blocked(image, shape, blocks, offset)


def codes_of_blocks(
    bytes_: te.Tensor,
    shape: tuple[int, ...],
    result: tuple[int, ...],
    blocks: Blocks,
    offset: int,
    dtype: str,
) -> te.Tensor:
    """The codes of shape `result`, which is `shape`, (N, H, W, C), in order."""
    half = _number(1 << (blocks.width - 1))

    def entry(*i: tirx.Var) -> tirx.Expr:
        value = _number(offset)
        for plane in range(blocks.planes):
            field = _field(bytes_, plane, _index(i, result, shape), blocks).astype("int16")
            value = value + (((field ^ half) - half) << _number(blocks.width * plane))
        return value.astype(dtype)

    return te.compute(result, entry, name="codes")


def sums_of_blocks(
    bytes_: te.Tensor, shape: tuple[int, ...], result: tuple[int, ...], blocks: Blocks
) -> te.Tensor:
    """The int32 sums of shape `result`, which is `shape`, (N, H, W, C), in order."""

    def entry(*i: tirx.Var) -> tirx.Expr:
        index = _index(i, result, shape)
        value: tirx.Expr | None = None
        for plane in range(blocks.planes):
            bits = _field(bytes_, plane, index, blocks).astype("uint32")
            bits = bits << tirx.const(blocks.width * plane, "uint32")
            value = bits if value is None else value | bits
        assert value is not None
        return tirx.reinterpret("int32", value)

    return te.compute(result, entry, name="sums")


def _number(value: int) -> tirx.Expr:
    """Of 16 bits: what codes, digits and offsets need, and twice as many lanes as int32."""
    return tirx.const(value, "int16")


def _field(
    bytes_: te.Tensor, plane: int, index: tuple[tirx.Expr, ...], blocks: Blocks
) -> tirx.Expr:
    """The bits of one scalar."""
    n, h, w, c = index
    image, b = n // blocks.batch, n % blocks.batch
    channels, scalar = c // blocks.block, c % blocks.block
    byte = bytes_(plane, image, channels, h, w, b, scalar // blocks.scalars)
    if blocks.scalars == 1:
        return byte
    shift = (scalar % blocks.scalars * blocks.width).astype("uint8")
    return (byte >> shift) & tirx.const((1 << blocks.width) - 1, "uint8")


def _inside(*axes: tuple[tirx.Expr, int, int]) -> tirx.Expr | None:
    """Whether indices lie within their extents; None where blocks divide these."""
    conditions = [index < extent for index, extent, block in axes if extent % block]
    return tirx.all(*conditions) if conditions else None


def _at(x: te.Tensor, shape: tuple[int, ...], index: tuple[tirx.Expr, ...]) -> tirx.Expr:
    """The element of `x` at an index of `shape`, in order."""
    return x(*_index(index, shape, tuple(int(extent) for extent in x.shape)))


def _index(
    index: tuple[tirx.Expr, ...], of: tuple[int, ...], to: tuple[int, ...]
) -> tuple[tirx.Expr, ...]:
    """An index of shape `of` as one of shape `to`. Equal but for axes of 1, or by the place."""
    if of == to:
        return index
    longer = [(i, extent) for i, extent in zip(index, of, strict=True) if extent > 1]
    if [extent for _, extent in longer] == [extent for extent in to if extent > 1]:
        rest = iter([i for i, _ in longer])
        return tuple(next(rest) if extent > 1 else tirx.const(0, "int64") for extent in to)
    place: tirx.Expr = tirx.const(0, "int64")
    for i, extent in zip(index, of, strict=True):
        place = place * extent + i
    found: list[tirx.Expr] = []
    for extent in reversed(to):
        found.append(place % extent)
        place = place // extent
    return tuple(reversed(found))
