"""Sums of products in VTA's blocked tensors, and how the planner's decisions compute them.

    acc[n, o, y, x, b, k] = start + sum over c, u, v, i of
                            inp[n, c, y * s + u - top, x * s + v - left, b, i] * w[o, u, v, c, k, i]
    out = the low 8 bits of clamp(acc >> shift, low, high)

inp: (N / B, C / BLOCK, H, W, B, BLOCK) int8; w: (O / BLOCK, KH, KW, C / BLOCK, BLOCK, BLOCK) int8.
start: one number, or ACC elements by class of rows and of columns: (classes, classes, O / BLOCK, B,
BLOCK) int32; shift: one, or ACC elements (O / BLOCK, B, BLOCK). Layers of one digit and one plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from qcompile.errors import Unsupported
from qcompile.schedules import intrinsics_vta as vta
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.instructions import AluOp
from qcompile.targets.vta.planner.problem import Immediates, Operand, SumsProblem
from qcompile.targets.vta.planner.tiles import Tiling
from qcompile.targets.vta.planner.whole import LARGEST_RIGHT_SHIFT, parts_of

LOAD_STARTS = "load_starts"
DOUBLE_BUFFER = "double_buffer_scope"  # TVM's: what the block writes has two halves
# A block, how many of its innermost loops an instruction is, and the intrinsic's name.
Instruction = tuple[SBlockRV, int, str]


@dataclass(frozen=True)
class Stage:
    """One ALU operation on all sums: with an immediate, or (None) with a tensor.

    vector: one element of the tensor for all places.
    """

    op: AluOp
    immediate: int | None
    vector: bool = False


@dataclass(frozen=True)
class VtaSumsPlan:
    """A problem and what was decided about it.

    numbers: in its instructions. rows, columns: of an instruction, the most that all tiles are
    whole multiples of, so that none is cut at a border. Sums are arranged by instruction:
    (N, O, Y, X, rows, columns, B, BLOCK).
    """

    problem: SumsProblem
    numbers: Immediates
    config: Config
    tiling: Tiling

    def __post_init__(self) -> None:
        widths = (self.config.inp_width, self.config.wgt_width, self.config.acc_width)
        if self.problem.in_digits or self.problem.planes > 1 or widths != (8, 8, 32):
            raise Unsupported(
                "a VTA layer as a TE program: operands of several digits, outputs of several "
                "planes, or widths that are not 8, 8 and 32 bits; layers of 8-bit operands and "
                "outputs work"
            )
        if self.problem.terms or self.problem.lifted:
            raise Unsupported(
                "a VTA layer as a TE program: sums of further terms, or lifted; scales that are "
                "powers of two work"
            )

    @property
    def rows(self) -> int:
        return gcd(self.tiling.rows, self.problem.output[1])

    @property
    def columns(self) -> int:
        return gcd(self.tiling.columns, self.problem.output[2])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the sums."""
        (images, height, width, channels), config = self.problem.output, self.config
        blocks = (-(-images // config.batch), -(-channels // config.block_out))
        places = (height // self.rows, width // self.columns, self.rows, self.columns)
        return (*blocks, *places, config.batch, config.block_out)

    @property
    def additions(self) -> list[Stage]:
        """Of the products of one operand after the other."""
        return [Stage(AluOp.ADD, None) for _ in self.problem.operands[1:]]

    @property
    def stages(self) -> list[Stage]:
        """What ALU does with the sum of all products, in order."""
        problem, numbers, found = self.problem, self.numbers, list[Stage]()
        if problem.start_vector:
            one = len(problem.row_classes) == len(problem.column_classes) == 1
            found.append(Stage(AluOp.ADD, None, vector=one))
        elif numbers.start:
            found.append(Stage(AluOp.ADD, numbers.start))
        if problem.shift_vector:
            found.append(Stage(AluOp.SHR, None, vector=True))
        else:
            found += [Stage(AluOp.SHR, by) for by in parts_of(numbers.shift, LARGEST_RIGHT_SHIFT)]
        limits = (Stage(AluOp.MAX, numbers.low), Stage(AluOp.MIN, numbers.high))
        return found + [each for each, used in zip(limits, problem.limits, strict=True) if used]

    @property
    def loops(self) -> vta.Loops:
        """Of an instruction."""
        return vta.Loops.of(self.rows, self.columns, self.config)


def vta_sums(plan: VtaSumsPlan) -> tirx.PrimFunc:
    """What is computed: inputs and weights of each operand, starts and shifts that are vectors, and
    the output (N / B, O / BLOCK, H, W, B, BLOCK) int8."""
    problem, (images, blocks, *_, batch, block) = plan.problem, plan.shape
    arguments, sums = [], []
    for number, operand in enumerate(problem.operands):
        x, w, product = _product(operand, number, plan)
        arguments += [x, w]
        sums.append(product)
    total = sums[0]
    for number, (stage, product) in enumerate(zip(plan.additions, sums[1:], strict=True)):
        total = _applied(stage, total, product, f"sum_{number}", plan)
    for number, stage in enumerate(plan.stages):
        source = None
        if stage.immediate is None:
            source = _vector(stage, number, plan)
            arguments.append(source)
            if not stage.vector:
                source = _by_place(source, plan)
        total = _applied(stage, total, source, f"stage_{number}", plan)
    low_bits = te.compute(plan.shape, lambda *at: total(*at).astype("int8"), name="low_bits")

    def stored(n, o, y, x, b, k):  # type: ignore[no-untyped-def]
        rows, columns = plan.rows, plan.columns
        return low_bits[n, o, y // rows, x // columns, y % rows, x % columns, b, k]

    _, height, width, _ = problem.output
    out = te.compute((images, blocks, height, width, batch, block), stored, name="store")
    return te.create_prim_func([*arguments, out])


def _product(
    operand: Operand, number: int, plan: VtaSumsPlan
) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    """The operand's tensor, its weights, and the sums of their products."""
    (height, width, channels), (tall, wide) = operand.shape, operand.kernel
    images, outputs, *_, batch, block = plan.shape
    top, left, bottom, right = operand.padding
    inputs = -(-channels // block)
    x = te.placeholder((images, inputs, height, width, batch, block), "int8", f"inp_{number}")
    w = te.placeholder((outputs, tall, wide, inputs, block, block), "int8", f"wgt_{number}")

    def padded(n, c, i, j, b, k):  # type: ignore[no-untyped-def]
        row, column = i - top, j - left
        inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
        return tirx.if_then_else(inside, x[n, c, row, column, b, k], tirx.const(0, "int8"))

    whole = (images, inputs, top + height + bottom, left + width + right, batch, block)
    data = te.compute(whole, padded, name=f"load_inp_{number}")
    ends = (inputs, tall, wide, block)
    c, u, v, i = (te.reduce_axis((0, end), name) for end, name in zip(ends, "cuvi", strict=True))
    (down, across), (apart, along) = operand.strides, operand.dilation

    def entry(n, o, y, z, yi, zi, b, k):  # type: ignore[no-untyped-def]
        row = (y * plan.rows + yi) * down + u * apart
        column = (z * plan.columns + zi) * across + v * along
        pair = data[n, c, row, column, b, i], w[o, u, v, c, k, i]
        return te.sum(pair[0].astype("int32") * pair[1].astype("int32"), axis=[c, u, v, i])

    return x, w, te.compute(plan.shape, entry, name=f"product_{number}")


def _vector(stage: Stage, number: int, plan: VtaSumsPlan) -> te.Tensor:
    """Starts or shifts: the operand of a stage."""
    problem, (_, blocks, *_, batch, block) = plan.problem, plan.shape
    starts = stage.op == AluOp.ADD
    classes = (len(problem.row_classes), len(problem.column_classes)) if starts else (1, 1)
    return te.placeholder((*classes, blocks, batch, block), "int32", f"vector_{number}")


def _by_place(vector: te.Tensor, plan: VtaSumsPlan) -> te.Tensor:
    """The starts of each place, by its class."""
    problem = plan.problem

    def entry(n, o, y, x, yi, xi, b, k):  # type: ignore[no-untyped-def]
        row = _class_of(y * plan.rows + yi, problem.row_classes)
        column = _class_of(x * plan.columns + xi, problem.column_classes)
        return vector[row, column, o, b, k]

    return te.compute(plan.shape, entry, name=LOAD_STARTS)


def _applied(
    stage: Stage, sums: te.Tensor, source: te.Tensor | None, name: str, plan: VtaSumsPlan
) -> te.Tensor:
    apply = vta.OPERATIONS[stage.op]

    def entry(n, o, y, x, yi, xi, b, k):  # type: ignore[no-untyped-def]
        value = sums[n, o, y, x, yi, xi, b, k]
        if source is None:
            return apply(value, tirx.const(stage.immediate, "int32"))
        if stage.vector:
            return apply(value, source[0, 0, o, b, k])
        return apply(value, source[n, o, y, x, yi, xi, b, k])

    return te.compute(plan.shape, entry, name=name)


def _class_of(place: tirx.Expr, classes: Sequence[int]) -> tirx.Expr | int:
    """The class that a row or a column is in."""
    found: tirx.Expr | int = 0
    for begin in classes[1:]:
        found = found + tirx.Select(place >= begin, 1, 0)
    return found


def schedule_vta_sums(sch: s_tir.Schedule, plan: VtaSumsPlan) -> None:
    """How it is computed: tiles of sums stay in ACC, from their products to their low bits."""
    products = [f"product_{n}" for n in range(len(plan.problem.operands))]
    operations = [(f"sum_{n}", stage) for n, stage in enumerate(plan.additions)]
    operations += [(f"stage_{n}", stage) for n, stage in enumerate(plan.stages)]
    tile = _cut_tiles(sch, plan)
    _put(sch, "low_bits", tile, vta.OUT)
    for name in reversed([*products, *(name for name, _ in operations)]):
        _put(sch, name, tile, vta.ACC)
    if any(stage.immediate is None and not stage.vector for stage in plan.stages):
        _put(sch, LOAD_STARTS, tile, vta.ACC)
    instructions: list[Instruction] = []
    for number, name in enumerate(products):
        instructions += _multiply(sch, plan, number, name)
    for name, stage in operations:
        instructions.append(_operate(sch, plan, name, stage, tile))
    for block, depth, instruction in instructions:
        # Blocks of their own first: conditions of borders then stay outside.
        sch.blockize(sch.get_loops(block)[-depth], preserve_unit_iters=False)
        sch.tensorize(sch.get_loops(block)[0], instruction)


def _cut_tiles(sch: s_tir.Schedule, plan: VtaSumsPlan) -> LoopRV:
    """The loop whose body is one tile, which ends with its STORE."""
    tiling = plan.tiling
    store = sch.get_sblock("store")
    n, o, y, x, b, k = sch.get_loops(store)
    y, rows, row = sch.split(y, [None, tiling.rows // plan.rows, plan.rows])
    x, columns, column = sch.split(x, [None, tiling.columns // plan.columns, plan.columns])
    o, outputs = sch.split(o, [None, tiling.outputs])
    outer = (o, n, y, x) if tiling.order == "weights" else (n, y, x, o)
    sch.reorder(*outer, outputs, rows, row, columns, column, b, k)
    last: LoopRV = outer[-1]
    return last


def _put(sch: s_tir.Schedule, name: str, tile: LoopRV, scope: str) -> None:
    """Compute a block's part of each tile there, in a buffer of that scope."""
    block = sch.get_sblock(name)
    sch.compute_at(block, tile, preserve_unit_loops=True)
    sch.set_scope(block, 0, scope)


def _multiply(sch: s_tir.Schedule, plan: VtaSumsPlan, number: int, name: str) -> list[Instruction]:
    """Products by steps of some blocks of inputs, which are loaded with their weights.

    With two threads one half of the buffers is filled while the other is worked on.
    """
    update = sch.get_sblock(name)
    *_, n, o, y, x, row, column, b, k, c, u, v, i = sch.get_loops(update)
    step, c = sch.split(c, [None, plan.tiling.inputs])
    sch.reorder(step, c, u, v, n, o, y, x, row, column, b, k, i)
    reset = sch.decompose_reduction(update, step)
    data, weights = sch.get_sblock(f"load_inp_{number}"), sch.cache_read(update, 2, vta.WGT)
    sch.compute_at(data, step)
    sch.set_scope(data, 0, vta.INP)
    sch.compute_at(weights, step)
    if plan.tiling.threads > 1:
        for load in (data, weights):
            sch.annotate(load, DOUBLE_BUFFER, 0)
    strides = plan.problem.operands[number].strides
    loops = plan.loops
    return [(reset, 4, vta.gemm_reset(loops)), (update, 5, vta.gemm(loops, strides))]


def _operate(
    sch: s_tir.Schedule, plan: VtaSumsPlan, name: str, stage: Stage, tile: LoopRV
) -> Instruction:
    """An operation on all sums of a tile; its vector is loaded with the tile."""
    block, loops = sch.get_sblock(name), plan.loops
    if stage.vector:
        sch.compute_at(sch.cache_read(block, 1, vta.ACC), tile)
    if stage.immediate is not None:
        return block, 4, vta.alu(stage.op, loops, stage.immediate)
    return block, 4, vta.alu_tensor(stage.op, loops, stage.vector)
