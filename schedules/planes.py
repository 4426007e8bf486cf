"""From planes of pixels (NCHW) to pixels of a few channels (NHWC), a vector of pixels at a time."""

from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV
from tvm.script import tirx as T  # noqa: N812

from qcompile.schedules.epilogue import store_lanes
from qcompile.schedules.registering import register_once
from qcompile.targets import Target

MOST_PLANES = 4  # more channels are rare in an input, and make vectors of their own
FEWEST_PIXELS = 8


def reads_planes(sch: s_tir.Schedule, codes: SBlockRV) -> bool:
    """Whether a block over (n, i, j, c) reads a tensor whose channels come before its columns."""
    _, _, column, channel = (axis.var for axis in sch.get(codes).iter_vars)
    for region in sch.get(codes).reads:
        first = [axis.min for axis in region.region]
        columns = [k for k, index in enumerate(first) if index.same_as(column)]
        channels = [k for k, index in enumerate(first) if index.same_as(channel)]
        if columns and channels and channels < columns:
            return 1 < int(sch.get(codes).iter_vars[3].dom.extent) <= MOST_PLANES
    return False


def interleave_planes(
    sch: s_tir.Schedule, codes: SBlockRV, block: SBlockRV, target: Target
) -> None:
    """Compute the codes of each row plane by plane, and interleave them into `block`."""
    _, row, column, channel = sch.get_loops(block)
    width, planes = int(sch.get(column).extent), int(sch.get(channel).extent)
    sch.transform_layout(codes, ("write", 0), lambda n, i, j, c: (n, i, c, j))
    sch.compute_at(codes, row, preserve_unit_loops=True)
    *_, j, c = sch.get_loops(codes)
    sch.reorder(c, j)
    _, lane = sch.split(j, [None, target.vector_bytes])
    sch.vectorize(lane)
    pixels = store_lanes(width, target.vector_bytes // 2)
    if pixels >= FEWEST_PIXELS:
        _, pixel = sch.split(column, [None, pixels])
        sch.tensorize(pixel, register_interleave(planes, pixels))


def register_interleave(planes: int, pixels: int) -> str:
    """The name under which `Schedule.tensorize` now finds the interleaving."""
    name = f"qcompile.interleave_planes_{planes}_{pixels}"
    return register_once(name, lambda: interleave(planes, pixels))


def interleave(planes: int, pixels: int) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
    """y[pixel, plane] = x[plane, pixel]: as loops, and as one permutation of all bytes."""
    order = [plane * pixels + pixel for pixel in range(pixels) for plane in range(planes)]
    plane_bytes, size = f"uint8x{pixels}", planes * pixels

    @T.prim_func(s_tir=True)
    def loops(
        X: T.Buffer((planes, pixels), "uint8", offset_factor=1),
        Y: T.Buffer((pixels, planes), "uint8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(X[0:planes, 0:pixels])
            T.writes(Y[0:pixels, 0:planes])
            for i, k in T.grid(pixels, planes):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SS", [i, k])
                    Y[vi, vk] = X[vk, vi]

    @T.prim_func(s_tir=True)
    def permutation(x: T.handle, y: T.handle) -> None:
        stride = T.int64()
        X = T.match_buffer(x, (planes, pixels), "uint8", strides=[stride, 1], offset_factor=1)
        Y = T.match_buffer(y, (pixels, planes), "uint8", offset_factor=1)
        with T.sblock("root"):
            T.reads(X[0:planes, 0:pixels])
            T.writes(Y[0:pixels, 0:planes])
            Y[0, T.ramp(T.int32(0), 1, size)] = T.Shuffle(
                [X.vload([k, 0], dtype=plane_bytes) for k in range(planes)], order
            )

    return loops, permutation
