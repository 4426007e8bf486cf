"""Which phases a PrimFunc falls into, and which buffers become arguments."""

from export_modules import T, classifier, sum_rows
from tvm import tirx

from qcompile.export.lower import lower, plain
from qcompile.export.phases import Operand, split_phases
from qcompile.targets import load_target

TARGET = load_target("x86-64-v3").tvm_target()


def kernel_of(function: tirx.PrimFunc):
    return split_phases(lower(plain(function), TARGET), "k")


def test_every_parallel_nest_is_a_phase():
    mod = classifier()
    kernel = kernel_of(mod["softmax"])
    assert [phase.symbol for phase in kernel.phases] == ["k_p0", "k_p1", "k_p2", "k_p3"]
    assert [phase.extent for phase in kernel.phases] == [12] * 4
    # The sums take the place of the maxima, which are dead by then.
    assert kernel.scratch_bytes == (12 * 4, 12 * 40 * 4)
    first = kernel.phases[0]
    assert first.operands == (Operand("parameter", 0), Operand("scratch", 0))


def test_a_large_buffer_inside_a_parallel_loop_is_the_threads():
    kernel = kernel_of(sum_rows)
    (phase,) = kernel.phases
    assert phase.extent == 5
    assert kernel.thread_bytes == (12_000,)
    assert kernel.scratch_bytes == ()
    assert phase.operands == (
        Operand("parameter", 0),
        Operand("parameter", 1),
        Operand("thread", 0),
    )


@T.prim_func(s_tir=True)
def serial_between_parallel(x: T.Buffer((64,), "int32"), y: T.Buffer((64,), "int32")):
    with T.sblock("root"):
        small = T.sblock_alloc_buffer((64,), "int32")
        total = T.sblock_alloc_buffer((1,), "int32")
        for i in T.parallel(64):
            with T.sblock("double"):
                vi = T.axis.spatial(64, i)
                small[vi] = x[vi] * 2
        for i in range(64):
            with T.sblock("total"):
                vi = T.axis.reduce(64, i)
                with T.init():
                    total[0] = 0
                total[0] = total[0] + small[vi]
        for i in T.serial(2):
            for j in T.parallel(32):
                with T.sblock("out"):
                    vi = T.axis.spatial(64, i * 32 + j)
                    y[vi] = small[vi] + total[0]


def test_serial_statements_are_one_phase_of_one_iteration():
    kernel = kernel_of(serial_between_parallel)
    assert [phase.extent for phase in kernel.phases] == [64, 1]
    assert kernel.scratch_bytes == (256,)
    for phase in kernel.phases:
        assert "parallel" not in phase.function.script()
