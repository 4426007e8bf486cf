import shutil

import pytest
from loops import BITS, CHAIN, FMLA, SDOT, TURNS

from qcompile.errors import ModelError
from qcompile.model_device import estimate, load_core
from qcompile.targets import load_target

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        not all(map(shutil.which, ("qemu-aarch64", "llvm-mca-19", "llvm-mc-19"))),
        reason="needs qemu-user and llvm-19",
    ),
]

# Published throughputs of the pipes (Arm's Software Optimization Guides of the Cortex-A72, 3.8, and
# of the Cortex-A76, 3.14): products and sums in a cycle, of `products` in a turn.
PEAKS = [
    ("rpi4", FMLA, 16 * 4, 4),
    ("rpi4", CHAIN, 14 * 16, 8),
    ("rpi4", BITS, 14 * 128, 256 / 3),
    ("rpi5", FMLA, 16 * 4, 8),
    ("rpi5", SDOT, 16 * 16, 32),
    ("rpi5", BITS, 14 * 128, 256 / 3),
    ("neoverse-n1", SDOT, 16 * 16, 32),
]


@pytest.mark.parametrize("target, body, products, peak", PEAKS)
def test_loops_reach_the_peak_of_the_pipes(target, body, products, peak, build):
    program = build(f"NOW_RUNS(0); LOOP({body}); NOTHING_RUNS;", target)

    (step,) = estimate(program, load_target(target), warmup=0).steps

    # One percent is for the first and the last turn, whose ends are no part of the loop.
    assert TURNS * products / step.cycles == pytest.approx(peak, rel=0.01)


def test_counts_instructions_of_each_step_exactly(build):
    loop = f"LOOP({FMLA});"
    program = build(
        f"NOW_RUNS(0); {loop} NOTHING_RUNS; {loop} NOW_RUNS(2); {loop} {loop} NOTHING_RUNS;", "rpi4"
    )

    steps = estimate(program, load_target("rpi4"), warmup=0).steps

    # 16 products, subs and b.ne in a turn; fewer than ten instructions around each loop.
    turn = TURNS * (16 + 2)
    assert [step.step for step in steps] == [0, 2]
    for step, loops in zip(steps, (1, 2), strict=True):
        assert 0 <= step.instructions - loops * turn < 10 * loops


def test_leaves_out_inferences_that_warm_up(build):
    runs = "for (int run = 0; run < 3; ++run) {{ NOW_RUNS(0); LOOP({}); NOTHING_RUNS; }}"
    program = build(runs.format(FMLA), "rpi4")
    cold = estimate(program, load_target("rpi4"), warmup=0, inferences=3)
    warm = estimate(program, load_target("rpi4"), warmup=2)

    assert warm.instructions == pytest.approx(cold.instructions, abs=1)


def test_two_estimates_are_equal(build):
    walk = "volatile char *a = malloc(1 << 20); for (int k = 0; k < 1 << 20; k += 48) a[k] = 1;"
    program = build(f"NOW_RUNS(0); {walk} LOOP({CHAIN}); NOTHING_RUNS;", "rpi4")
    target = load_target("rpi4")

    assert estimate(program, target, warmup=0) == estimate(program, target, warmup=0)


READS = """
static volatile unsigned char data[BYTES] __attribute__((aligned(64)));
for (int run = 0; run < 2; ++run) {{
    NOW_RUNS(0);
    for (long k = 0; k < BYTES / 64; ++k) {{ (void)data[{index}]; }}
    NOTHING_RUNS;
}}
"""


# (bytes, index of the k-th read, lines of the second walk that miss level 1: in streams, alone)
@pytest.mark.parametrize(
    "size, index, streamed, alone",
    [
        (16 * 1024, "64 * k", 0, 0),
        (128 * 1024, "64 * k", 2048, 0),
        (128 * 1024, "64 * (k * 1025 % 2048)", 0, 2048),
    ],
)
def test_reads_of_more_than_level_1_miss_it(size, index, streamed, alone, build):
    program = build(READS.replace("BYTES", str(size)).format(index=index), "rpi4")

    (step,) = estimate(program, load_target("rpi4"), warmup=1).steps

    # Few lines are the stack's; a stream begins with a line that nothing told before.
    assert step.memory.streamed[0] == pytest.approx(streamed, abs=4)
    assert step.memory.alone[0] == pytest.approx(alone, abs=4)
    assert step.memory.streamed[1] == step.memory.alone[1] == 0
    assert step.stall_cycles == pytest.approx(5 * alone, abs=20)  # 20 cycles, 4 at a time


def test_refuses_instructions_that_the_core_lacks(build):
    program = build(f"LOOP({SDOT});", "rpi5")
    with pytest.raises(ModelError, match="cortex-a53: it has instructions that this processor"):
        estimate(program, load_target("rpi3"))


def test_refuses_a_program_without_marks(build):
    program = build(f"LOOP({FMLA});", "rpi4")
    with pytest.raises(ModelError, match="marks no step"):
        estimate(program, load_target("rpi4"), warmup=0)


def test_names_what_is_not_installed(build, monkeypatch):
    program = build(f"LOOP({FMLA});", "rpi4")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ModelError, match=r"needs qemu-aarch64.*apt-get install qemu-user"):
        estimate(program, load_target("rpi4"))


def test_names_the_cores_that_it_knows():
    with pytest.raises(ModelError, match=r"no model of cortex-a7 \(known: cortex-a53.*neoverse-n2"):
        load_core(load_target("armv7-a7"))
