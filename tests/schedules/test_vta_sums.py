"""A layer of VTA as a tensorized TE program, as its instruction stream, and as NumPy's integers."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import tvm
from tvm import s_tir

from qcompile.errors import Unsupported
from qcompile.schedules.vta_sums import VtaSumsPlan, schedule_vta_sums, vta_sums
from qcompile.targets.vta import functional
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.dram import IMAGE_ADDRESS
from qcompile.targets.vta.layers import Segment, Source, Sums, VtaTensor
from qcompile.targets.vta.planner import plan_segment
from qcompile.targets.vta.planner.arithmetic import numbers
from qcompile.targets.vta.planner.choice import space
from qcompile.targets.vta.planner.decisions import tiling_of
from qcompile.targets.vta.planner.packing import packed, unpacked
from qcompile.targets.vta.planner.tiles import Tiling
from tests.schedules.vta_calls import gemm_uops, library

PORT_BYTES = 8


def layer(rng, image, channels, outputs, kernel=3, strides=(1, 1), padding=1, zero=0, shift=8):
    """A segment of one convolution. padding: on all sides. shift: one, or "channels"."""
    x = VtaTensor("x", (1, *image, channels), 0, -128, 127)
    weights = rng.integers(-128, 128, (outputs, kernel, kernel, channels))
    sizes = [(image[a] + 2 * padding - kernel) // strides[a] + 1 for a in (0, 1)]
    y = VtaTensor("y", (1, *sizes, outputs), 0, -128, 127)
    source = Source("x", weights, strides, (padding,) * 4, zero=zero)
    shifts = rng.integers(6, 12, outputs) if shift == "channels" else shift
    sums = Sums("conv", (source,), rng.integers(-9000, 9000, outputs), shifts, -90, 100, y)
    return Segment("segment", (x,), ("x",), ("y",), (sums,))


def residual(rng):
    """A segment of one sum of two convolutions, of another stride each."""
    a, b = (VtaTensor(n, (1, e, e, 32), 0, -128, 127) for n, e in (("a", 7), ("b", 14)))
    weights = [rng.integers(-128, 128, (48, k, k, 32)) for k in (3, 1)]
    sources = (
        Source("a", weights[0], padding=(1, 1, 1, 1), zero=3),
        Source("b", weights[1], (2, 2)),
    )
    y = VtaTensor("y", (1, 7, 7, 48), 0, -128, 127)
    sums = Sums("sum", sources, rng.integers(-9000, 9000, 48), 10, -128, 127, y)
    return Segment("segment", (a, b), ("a", "b"), ("y",), (sums,))


LAYERS = {
    "3x3": lambda rng: layer(rng, (14, 14), 32, 48),
    "stride 2": lambda rng: layer(rng, (9, 13), 20, 37, strides=(2, 2)),
    "1x1 stride 2": lambda rng: layer(rng, (10, 10), 64, 80, kernel=1, strides=(2, 2), padding=0),
    "zero point": lambda rng: layer(rng, (7, 8), 16, 16, zero=5),
    "shifts by channel": lambda rng: layer(rng, (6, 6), 16, 32, shift="channels"),
    "large shift": lambda rng: layer(rng, (6, 6), 32, 16, shift=17),
    "two sources": residual,
}


def expected(sums, inputs):
    """The formula of layers, in int64."""
    _, height, width, channels = sums.output.shape
    acc = np.zeros((1, height, width, channels), np.int64) + sums.bias
    for source in sums.sources:
        (top, left, bottom, right), weights = source.padding, source.weights.astype(np.int64)
        x = np.pad(
            inputs[source.tensor].astype(np.int64) - source.zero,
            ((0, 0), (top, bottom), (left, right), (0, 0)),
        )
        for u, v in np.ndindex(*weights.shape[1:3]):
            rows = slice(u, u + (height - 1) * source.strides[0] + 1, source.strides[0])
            columns = slice(v, v + (width - 1) * source.strides[1] + 1, source.strides[1])
            acc += x[:, rows, columns] @ weights[:, u, v].T
    shift = np.broadcast_to(sums.shift, (channels,)).astype(np.int64)
    return np.clip(((acc + ((1 << shift) >> 1)) >> shift) + sums.zero_out, sums.low, sums.high)


def streamed(segment, tiling, inputs):
    """What the emitted instructions leave in memory, and how many micro-ops added."""
    name = segment.layers[0].name
    program = plan_segment(segment, DEFAULT, PORT_BYTES, {name: asdict(tiling)})
    image = program.image.copy()

    def part(tensor):
        first = program.placements[tensor].address - IMAGE_ADDRESS
        return image[first : first + program.placements[tensor].bytes]

    for tensor, value in inputs.items():
        part(tensor)[:] = packed(value, program.placements[tensor], DEFAULT)
    counters = functional.run(DEFAULT, program.instructions, image)
    output = segment.outputs[0]
    return unpacked(part(output), program.placements[output], DEFAULT), counters.gemm_uops


def tensorized(segment, tiling, inputs):
    """The same of the TE program, compiled for this machine."""
    found = numbers(segment.layers[0], segment, DEFAULT)
    plan = VtaSumsPlan(found.problem, found.immediates, DEFAULT, tiling)
    sch = s_tir.Schedule(tvm.IRModule({"main": vta_sums(plan)}))
    schedule_vta_sums(sch, plan)
    library()
    built = tvm.tirx.build(sch.mod, target="llvm")
    arguments = []
    for source, weights in zip(segment.layers[0].sources, found.weights, strict=True):
        arguments += [blocks_of(inputs[source.tensor]), weights[0]]
    if found.problem.start_vector:
        arguments.append(found.starts[..., None, :].astype(np.int32))
    if found.problem.shift_vector:
        arguments.append(found.shifts[None, None, :, None, :].astype(np.int32))
    _, height, width, channels = found.problem.output
    out = np.zeros((1, -(-channels // 16), height, width, 1, 16), np.int8)
    tensors = [tvm.runtime.tensor(np.ascontiguousarray(a)) for a in (*arguments, out)]
    gemm_uops().value = 0
    built["main"](*tensors)
    got = tensors[-1].numpy()[:, :, :, :, 0].transpose(0, 2, 3, 1, 4)
    return got.reshape(1, height, width, -1)[..., :channels], gemm_uops().value, sch.mod


def blocks_of(x):
    """(1, C / 16, H, W, 1, 16) int8."""
    _, height, width, channels = x.shape
    filled = np.pad(x, ((0, 0), (0, 0), (0, 0), (0, -channels % 16)))
    blocks = filled.reshape(1, height, width, -1, 16).transpose(0, 3, 1, 2, 4)
    return blocks[:, :, :, :, None].astype(np.int8)


def tilings(segment, rng, count):
    """The default, and random ones of the space that fit the buffers."""
    problem = numbers(segment.layers[0], segment, DEFAULT).problem
    decisions = space(problem, DEFAULT, PORT_BYTES)
    yield tiling_of(decisions.chosen({}))
    for _ in range(count):
        chosen = {d.name: d.choices[rng.integers(len(d.choices))] for d in decisions.decisions}
        yield tiling_of(chosen)


@pytest.mark.parametrize("name", LAYERS)
def test_te_program_instructions_and_numpy_agree(name):
    rng = np.random.default_rng(0)
    segment = LAYERS[name](rng)
    inputs = {t.name: rng.integers(t.low, t.high + 1, t.shape) for t in segment.tensors}
    reference = expected(segment.layers[0], inputs)
    for tiling in tilings(segment, rng, 1):
        values, uops = streamed(segment, tiling, inputs)
        np.testing.assert_array_equal(values, reference, str(tiling))
        values, calls, _ = tensorized(segment, tiling, inputs)
        np.testing.assert_array_equal(values, reference, str(tiling))
        assert calls == uops, tiling


def test_the_printed_program_reads_as_instructions():
    segment = LAYERS["3x3"](np.random.default_rng(0))
    found = numbers(segment.layers[0], segment, DEFAULT)
    plan = VtaSumsPlan(found.problem, found.immediates, DEFAULT, Tiling(4, 7, 2, 1, "weights", 2))
    sch = s_tir.Schedule(tvm.IRModule({"main": vta_sums(plan)}))
    schedule_vta_sums(sch, plan)
    text = sch.mod.script()
    # Two rows of seven outputs each: tiles of 4 and, at the border, 2 rows are whole multiples.
    assert text.count('"vta_gemm", ') == text.count('"vta_gemm_reset", ') == 1
    assert text.count('"vta_alu_tensor", ') == 1 and text.count('"vta_alu", ') == 3
    assert "T.address_of(W[0, 0]), 2, 7, " in text
    assert text.count('"double_buffer_scope"') == 2  # of the two threads: INP and WGT
    for scope in ("local.INP", "local.WGT", "local.ACC", "local.OUT"):
        assert f'scope="{scope}"' in text


def test_refuses_operands_of_several_digits():
    rng = np.random.default_rng(0)
    segment = layer(rng, (6, 6), 16, 16)
    wide = replace(segment.layers[0].sources[0], weights=rng.integers(-999, 999, (16, 3, 3, 16)))
    segment = replace(segment, layers=(replace(segment.layers[0], sources=(wide,)),))
    found, tiling = numbers(segment.layers[0], segment, DEFAULT), Tiling(6, 6, 1, 1, "weights", 1)
    with pytest.raises(Unsupported, match="several digits"):
        VtaSumsPlan(found.problem, found.immediates, DEFAULT, tiling)
