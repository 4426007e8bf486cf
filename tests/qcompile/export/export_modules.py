"""Small modules as the schedules leave them, and what NumPy says they compute."""

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax, s_tir, tirx
from tvm.relax import op
from tvm.script import tirx as T  # noqa: N812

ROWS, DEPTH, COLUMNS = 12, 24, 40
WEIGHTS = np.random.default_rng(7).standard_normal((DEPTH, COLUMNS)).astype("float32")


def build(inputs: list[relax.Var], body: Callable[..., list[relax.Expr]]) -> tvm.IRModule:
    """`main` with what `body(builder, *inputs)` returns as outputs, fused and scheduled."""
    builder = relax.BlockBuilder()
    with builder.function("main", inputs):
        with builder.dataflow():
            results = body(builder, *inputs)
            whole = results[0] if len(results) == 1 else relax.Tuple(results)
            output = builder.emit_output(whole)
        builder.emit_func_output(output)
    passes = [
        relax.transform.LegalizeOps(
            {"relax.reshape": lambda bb, call: call}  # aliases stay operators
        ),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    return scheduled(tvm.transform.Sequential(passes)(builder.get()))


def scheduled(mod: tvm.IRModule) -> tvm.IRModule:
    """Every top-level loop nest with its outer loops fused and parallel."""
    result = tvm.IRModule({}, attrs=mod.attrs)
    for name, function in mod.functions.items():
        result[name] = parallel(function) if isinstance(function, tirx.PrimFunc) else function
    return result


def parallel(function: tirx.PrimFunc) -> tirx.PrimFunc:
    schedule = s_tir.Schedule(function.with_attr("global_symbol", "main"))
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        loops = schedule.get_loops(block)
        if len(loops) > 1:
            schedule.parallel(schedule.fuse(*loops[:2]))
        elif loops:
            schedule.parallel(loops[0])
    return schedule.mod["main"].without_attr("global_symbol")


def tensor(name: str, shape: tuple[int, ...], dtype: str = "float32") -> relax.Var:
    return relax.Var(name, relax.TensorType(shape, dtype))


def classifier() -> tvm.IRModule:
    """softmax(relu(x @ WEIGHTS)): two kernels, the second of four phases with shared scratch."""

    def body(bb, x):
        products = bb.emit(op.nn.relu(bb.emit(op.matmul(x, relax.const(WEIGHTS)))))
        return [bb.emit(op.nn.softmax(products))]

    return build([tensor("x", (1, ROWS, DEPTH))], body)


def classify(x: np.ndarray) -> np.ndarray:
    scores = np.maximum(x.astype("float64") @ WEIGHTS, 0)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def many_outputs() -> tvm.IRModule:
    """Of int32 x, y (4, 6): halves of x + y, the sum flat and twice, x itself, a constant."""

    def body(bb, x, y):
        total = bb.emit(op.add(x, y))
        halves = bb.emit(op.split(total, 2, axis=1))
        left, right = bb.emit(halves[0]), bb.emit(halves[1])
        flat = bb.emit(op.reshape(total, (24,)))
        constant = relax.const(np.arange(5, dtype="int32"))
        doubled = bb.emit(op.multiply(bb.emit(op.reshape(flat, (2, 12))), relax.const(2, "int32")))
        return [left, right, flat, total, x, constant, doubled]

    return build([tensor("x", (4, 6), "int32"), tensor("y", (4, 6), "int32")], body)


def many_results(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    total = x + y
    constant = np.arange(5, dtype="int32")
    return [
        *(total[:, :3], total[:, 3:], total.reshape(24), total, x, constant),
        2 * total.reshape(2, 12),
    ]


@T.prim_func(s_tir=True)
def sum_rows(x: T.Buffer((5, 3000), "int32"), y: T.Buffer((5,), "int32")):
    """y[i] = sum of 3 * x[i, j] + 1, by way of a row of 12,000 bytes inside the parallel loop."""
    for i in T.parallel(5):
        with T.sblock("row"):
            vi = T.axis.spatial(5, i)
            T.reads(x[vi, 0:3000])
            T.writes(y[vi])
            row = T.sblock_alloc_buffer((3000,), "int32")
            for j in range(3000):
                with T.sblock("triple"):
                    vj = T.axis.spatial(3000, j)
                    row[vj] = x[vi, vj] * 3 + 1
            for j in range(3000):
                with T.sblock("sum"):
                    vj = T.axis.reduce(3000, j)
                    with T.init():
                        y[vi] = 0
                    y[vi] = y[vi] + row[2999 - vj]


def row_sums() -> tvm.IRModule:
    """`sum_rows` of x (5, 3000)."""
    builder = relax.BlockBuilder()
    x = tensor("x", (5, 3000), "int32")
    with builder.function("main", [x]):
        with builder.dataflow():
            kernel = builder.add_func(sum_rows, "sum_rows")
            result = builder.emit_output(
                relax.call_tir(kernel, [x], out_ty=relax.TensorType((5,), "int32"))
            )
        builder.emit_func_output(result)
    return builder.get()
