"""What `check` says of the kernels of layers of few bits."""

import re

import pytest
from cli_fakes import Analysis, Layer

from qcompile.cli.choices import show_choices, summaries


def choice(kernel, microseconds, limit="compute"):
    return {"kernel": kernel, "predicted_us": microseconds, "limit": limit, "reason": None}


def layer(name, bits, *choices):
    return Layer(
        name, "Conv", *bits, "uint8", "int8", 9, 9, choices[0]["kernel"], True, "", choices
    )


FOUR = [
    layer("a", (4, 4), choice("conv2d_int8", 20.0), choice("conv2d_bits", 30.0)),
    layer("b", (4, 4), choice("dense_int8", 9.0), choice("dense_bits", 11.0, "packing")),
]
ONE = layer("c", (1, 1), choice("conv2d_bits", 2.0), choice("conv2d_int8", 8.5))
IMPOSSIBLE = {"kernel": "conv2d_bits", "predicted_us": None, "limit": None, "reason": "many"}
EIGHT = layer("d", (8, 8), choice("conv2d_int8", 3.0), IMPOSSIBLE)


def test_tells_layers_of_few_bits_that_run_as_int8():
    assert summaries(FOUR) == [
        "2 layers of 4 bits run as int8: predicted 41 us on bits, 29 us as int8"
    ]


@pytest.mark.parametrize(
    ("bits", "line"),
    [
        ((1, 1), "1 layer of 1 bit runs on bits: predicted 8.5 us as int8, 2 us on bits"),
        ((2, 1), "1 layer of 1 and 2 bits runs on bits: predicted 8.5 us as int8, 2 us on bits"),
    ],
)
def test_tells_layers_on_bits(bits, line):
    assert summaries([layer("c", bits, *ONE.choices)]) == [line]


def test_packed_weights_are_int8_in_registers():
    packed = choice("dense_packed", 5.0), choice("dense_int8", 6.0)
    assert summaries([layer("a", (8, 4), *packed)]) == []
    assert summaries([layer("a", (4, 4), *packed, choice("dense_bits", 7.0))]) == [
        "1 layer of 4 bits runs as int8: predicted 7 us on bits, 5 us as int8"
    ]


def test_shows_what_was_possible(capsys):
    show_choices(Analysis(layers=[*FOUR, ONE, EIGHT], costs_source="of a test"))
    out = capsys.readouterr().out
    instead = r"conv2d_int8 +20 us \(compute\) +conv2d_bits 30 us \(compute\)"
    assert re.search(rf"^a +{instead}$", out, re.M)
    assert re.search(r"^b .* dense_bits 11 us \(packing\)$", out, re.M)
    assert not re.search(r"^d ", out, re.M)
    assert out.endswith("predicted by costs of a test\n")


def test_says_nothing_where_there_is_no_choice(capsys):
    show_choices(Analysis(layers=[EIGHT]))
    assert capsys.readouterr().out == ""
