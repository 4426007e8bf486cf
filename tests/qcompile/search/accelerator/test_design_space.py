"""Spaces of designs, what of them a part holds, and the board file of a design."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import small

from qcompile.errors import DoesNotFit, InvalidInput, UnknownTarget, Unsupported
from qcompile.search.accelerator import Space, usual_space, write_board
from qcompile.search.accelerator.design import Design, area_of
from qcompile.search.accelerator.front import covered, front
from qcompile.search.accelerator.request import board_of, in_order, part_of
from qcompile.search.accelerator.space import SHARES, buildable, own_design
from qcompile.search.accelerator.spread import spread
from qcompile.targets import load_target
from qcompile.targets.vta.encodable import broken_rules
from qcompile.targets.vta.resources import device, expect_fits


@pytest.mark.parametrize("board", ["vta-ultra96", "vta-pynq", "vta-zcu104"])
def test_usual_spaces_have_designs_that_fit(board):
    target = load_target(board)
    space, part = usual_space(target), device(target.part)
    assert Space.from_json(space.to_json(), target) == space
    every = list(space.designs(target))
    found = buildable(space, target, part)
    assert len(found.designs) + sum(found.refused.values()) == len(every) == len(set(every))
    for design in found.designs[::20]:
        assert next(broken_rules(design.config), None) is None
        expect_fits(design.config, design.port_bytes, part)
        assert all(share <= SHARES[name] for name, share in area_of(design, part).shares.items())
    assert {design.config.log_block for design in found.designs} >= {3, 4}
    assert {design.config.wgt_width for design in found.designs} == {2, 4, 8}


def test_missing_keys_are_the_boards_own():
    board = small.board()
    space = Space.from_json({"LOG_BLOCK": [4, 3]}, board)
    first, second = space.designs(board)
    assert first == own_design(board) and first.on(board) == board
    assert second.config == replace(board.config, log_block=3)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"LOG_BLOK": [4]}, "LOG_BLOK is no key"),
        ({"LOG_BLOCK": []}, "LOG_BLOCK is []"),
        ({"LOG_BLOCK": [4.5]}, "LOG_BLOCK has 4.5"),
        ({"PORT_BYTES": [12]}, "PORT_BYTES has 12"),
        ({"SCALES": ["exact"]}, "SCALES has 'exact'"),
    ],
)
def test_refuses_other_spaces(mapping, told):
    with pytest.raises(InvalidInput, match=told.replace("[", r"\[")):
        Space.from_json(mapping, small.board())


def test_a_space_without_room_is_told():
    board = small.board()
    with pytest.raises(DoesNotFit, match="too little lut"):
        buildable(Space.from_json({"LOG_BLOCK": [6], "LOG_WGT_WIDTH": [2]}, board), board, part(1))


def part(share):
    found = device("xczu3eg")
    return replace(found, lut=found.lut // share, bram18=10**6)


def test_boards_by_name_and_part():
    assert board_of("xczu3eg") == board_of("vta-ultra96") == small.board()
    with pytest.raises(UnknownTarget, match="no VTA"):
        board_of("rpi4")
    with pytest.raises(Unsupported, match="5cseba6"):
        part_of(board_of("vta-de10nano"))


def test_board_files_load(tmp_path):
    board = small.board()
    config = replace(board.config, log_block=5, log_inp_width=2, log_wgt_width=2)
    config = replace(config, log_inp_buff_size=14, log_wgt_buff_size=17, log_acc_buff_size=16)
    design = Design(config, 8, "power-of-two-4")
    write_board(tmp_path / "mine.toml", design, board)
    found = load_target(str(tmp_path / "mine.toml"))
    assert replace(found, name=board.name, source=board.source) == design.on(board)
    assert "ultra96" in tomllib.loads((tmp_path / "mine.toml").read_text())["source"]


def test_requests_are_in_the_networks_order(tmp_path):
    model, _ = small.network(tmp_path)
    choices = small.choices()
    scores = small.sensitivities(choices)
    backwards = dict(reversed(choices.items()))
    assert list(in_order(model, backwards, scores)[0]) == list(small.LAYERS)
    without = {name: own for name, own in choices.items() if name != "last"}
    own, known = in_order(model, without, scores)
    assert [(w.weights, w.activations) for w in own["last"]] == [(8, 8)]
    assert set(known["last"].values()) == {0.0}
    with pytest.raises(InvalidInput, match="'other': not in the model"):
        in_order(model, {"other": choices["first"]}, scores)
    with pytest.raises(InvalidInput, match=r"w4a4 is nan"):
        wrong = {name: dict.fromkeys(each, float("nan")) for name, each in scores.items()}
        in_order(model, {"first": choices["first"][1:]}, wrong)


def test_fronts_keep_what_nothing_dominates():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (60, 3)).astype(float)
    kept = {tuple(values[k]) for k in front(values)}
    for point in {tuple(each) for each in values}:
        better = any(tuple(o) != point and (o <= point).all() for o in values)
        assert (point in kept) != better
    assert len(front(values)) == len(kept)
    assert covered(values, values[front(values)]).all() and not covered(values, values[:0]).any()


def test_spread_points_take_the_ends_first_and_never_one_twice():
    values = np.stack([np.arange(50.0), 50 - np.arange(50.0)], axis=1)
    assert set(spread(values, 2)) == {0, 49}
    three = spread(values, 3)
    assert 10 < three[2] < 40
    assert not set(three) & set(spread(values, 5, three))
    assert sorted(spread(values, 99)) == list(range(50))
