"""Configurations: JSON, derived widths, and which can be encoded."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.errors import NotEncodable, Unsupported
from qcompile.targets.vta.config import DEFAULT, Buffer, Config
from qcompile.targets.vta.encodable import broken_rules, nearest_encodable

JSON = {
    "TARGET": "sim", "HW_VER": "0.0.2", "LOG_INP_WIDTH": 3, "LOG_WGT_WIDTH": 3,
    "LOG_ACC_WIDTH": 5, "LOG_BATCH": 0, "LOG_BLOCK": 4, "LOG_UOP_BUFF_SIZE": 15,
    "LOG_INP_BUFF_SIZE": 15, "LOG_WGT_BUFF_SIZE": 18, "LOG_ACC_BUFF_SIZE": 17,
}  # fmt: skip


def test_reads_and_writes_json():
    assert Config.from_json(JSON) == DEFAULT
    assert DEFAULT.to_json() == JSON


def test_default_has_the_sizes_of_the_specification():
    assert [DEFAULT.depth(b) for b in Buffer] == [8192, 1024, 2048, 2048, 2048]
    assert [DEFAULT.element_bytes(b) for b in Buffer] == [4, 256, 16, 64, 16]
    assert DEFAULT.name == "1x16_i8w8a32_15_15_18_17"
    DEFAULT.expect_encodable()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LOG_BLOCK_IN": 4}, "nothing is missing and LOG_BLOCK_IN is unknown"),
        ({"LOG_BATCH": True}, "LOG_BATCH is True; it is of type int"),
        ({"LOG_BATCH": "0"}, "LOG_BATCH is '0'"),
        ({"TARGET": 3}, "TARGET is 3; it is of type str"),
    ],
)
def test_refuses_other_json(change, message):
    with pytest.raises(Unsupported, match=message):
        Config.from_json({**JSON, **change})


def test_refuses_missing_keys():
    with pytest.raises(Unsupported, match="HW_VER is missing"):
        Config.from_json({key: value for key, value in JSON.items() if key != "HW_VER"})


@pytest.mark.parametrize(
    ("change", "rule", "advice"),
    [
        ({"log_acc_buff_size": 18}, "A . S . W <= 32", "LOG_ACC_BUFF_SIZE 17 instead of 18"),
        ({"log_uop_buff_size": 16}, "U <= 13", "LOG_UOP_BUFF_SIZE 15 instead of 16"),
        ({"log_inp_buff_size": 14}, "I >= A", "LOG_ACC_BUFF_SIZE 16 instead of 17"),
        ({"log_wgt_buff_size": 30}, "depths are 1 to 65536", "LOG_WGT_BUFF_SIZE .. instead of 30"),
        ({"log_inp_width": 6}, "LOG_INP_WIDTH lies within 0 to 4", "LOG_INP_WIDTH 4 instead of 6"),
        ({"log_batch": -1}, "LOG_BATCH lies within 0 to 4", "LOG_BATCH 0 instead of -1"),
        ({"log_block": 0, "log_inp_width": 0}, "whole bytes", "LOG_BLOCK 3 instead of 0"),
        (
            {"log_acc_width": 3, "log_inp_width": 4},
            "at least as wide as OUT",
            "LOG_ACC_WIDTH 4 instead of 3",
        ),
        (
            # A = 12 and small micro-ops: only the ALU's second word is too full.
            {"log_acc_buff_size": 18, "log_inp_buff_size": 16, "log_wgt_buff_size": 15},
            "the fields of Alu fit",
            "LOG_ACC_BUFF_SIZE 17 instead of 18",
        ),
    ],
)
def test_refuses_what_cannot_be_encoded(change, rule, advice):
    with pytest.raises(NotEncodable, match=f"{rule}.*nearest that works has.*{advice}"):
        replace(DEFAULT, **change).expect_encodable()


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(-1, 7)] * 5), st.tuples(*[st.integers(5, 24)] * 4))
def test_the_nearest_is_encodable_and_none_is_nearer(scalars, buffers):
    names = [name.lower() for name in JSON if name.startswith("LOG")]
    config = replace(DEFAULT, **dict(zip(names, (*scalars, *buffers), strict=True)))

    found = nearest_encodable(config)

    assert not list(broken_rules(found))
    if any(getattr(found, name) != getattr(config, name) for name in names[:5]):
        return  # other elements: the buffers are counted from another start
    for name in names[5:]:
        for size in range(getattr(config, name), getattr(found, name)):
            assert list(broken_rules(replace(found, **{name: size})))
