"""Tables of costs: those of named targets are whole, others are told what is wrong with them."""

import dataclasses

import pytest

from qcompile.errors import UnknownTarget
from qcompile.targets import list_processors, load_target
from qcompile.targets.costs import KERNELS, Costs, KernelCost, costs_of, read_costs
from qcompile.targets.costs.table import FOLDER

TABLE = Costs({name: KernelCost(*[1e-9] * 9) for name in KERNELS}, 1e-9, 2e-9, 3e-9, 'a "test"')


@pytest.mark.parametrize("name", [target.name for target in list_processors()])
def test_every_named_target_has_a_table(name):
    costs = read_costs(FOLDER / f"{name}.toml")
    assert costs == costs_of(load_target(name))
    # More work never takes less time, and work takes time.
    for cost in costs.kernels.values():
        assert sum(dataclasses.asdict(cost).values()) > 0


def test_a_table_is_read_as_it_was_written(tmp_path):
    (tmp_path / "table.toml").write_text(TABLE.to_toml())
    assert read_costs(tmp_path / "table.toml") == TABLE


def test_another_target_takes_the_nearest_table_by_its_clock():
    near = load_target("znver4")
    own = dataclasses.replace(near, name="mine", clock_hz=near.clock_hz / 2)
    costs, known = costs_of(own), costs_of(near)
    assert costs.pack_s == pytest.approx(2 * known.pack_s)
    for name, cost in known.kernels.items():
        assert costs.kernels[name].step_s == pytest.approx(2 * cost.step_s)
    assert costs.source.startswith("znver4's, times 2 for the clocks")


@pytest.mark.parametrize(
    ("like", "mcpu", "nearest"),
    [
        ("rpi4", "cortex-a72", "rpi4"),
        ("rpi5", "cortex-a76", "rpi5"),
        ("armv7-a9", "cortex-a15", "armv7"),
        ("armv7-a9", "cortex-a9", "armv7-a9"),
        ("rpi3", "cortex-a35", "aarch64"),
    ],
)
def test_boards_take_the_table_of_their_architecture_and_core(like, mcpu, nearest):
    known = load_target(like)
    board = dataclasses.replace(known, name="board", llvm={**known.llvm, "mcpu": mcpu})
    assert costs_of(board).source.startswith(f"{nearest}'s, times ")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('source = "a', 'sauce = "a', "lacks source"),
        ('source = "a \\"test\\""', 'source = ""', "where the numbers come from"),
        ("[dense_bits]", "[dense_bats]", "lacks dense_bits"),
        ("[dense_bits]", "[extra]\nstep_s = 1\n[dense_bits]", "unknown extra"),
        ("call_s", "coll_s", "[conv2d_int8]: lacks call_s"),
        ("step_s = 1e-09", "step_s = -1e-09", "expected seconds"),
        ("step_s = 1e-09", "step_s = nan", "expected seconds"),
        ("step_s = 1e-09", "step_s = inf", "expected seconds"),
        ("step_s = 1e-09", "step_s = true", "expected seconds"),
        ("step_s = 1e-09", 'step_s = "fast"', "expected seconds"),
        ("step_s = 1e-09", "step_s = ", "Invalid value"),
    ],
)
def test_says_what_is_wrong_with_a_table(old, new, told, tmp_path):
    text = TABLE.to_toml()
    assert old in text
    path = tmp_path / "table.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UnknownTarget) as error:
        read_costs(path)
    assert str(path) in str(error.value) and told in str(error.value)


def test_says_that_there_is_no_table(tmp_path):
    with pytest.raises(UnknownTarget, match="cannot be read"):
        read_costs(tmp_path / "none.toml")
