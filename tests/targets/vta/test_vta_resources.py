"""The resource model: figures that are known, and refusals."""

from dataclasses import replace

import pytest

from qcompile.errors import DoesNotFit, UnknownTarget
from qcompile.targets.vta.config import DEFAULT
from qcompile.targets.vta.resources import device, expect_fits, nearest_fitting, resources

PYNQ, ULTRA96, ZCU104 = (device(name) for name in ("xc7z020", "xczu3eg", "xczu7ev"))


def test_gives_the_figures_of_the_synthesized_reference_design():
    """2048 micro-ops: 122 block RAMs and 18.2 thousand LUTs, one DSP slice a product."""
    found = resources(replace(DEFAULT, log_uop_buff_size=13), 8)
    assert (found.bram36, found.bram18, found.lut, found.dsp) == (122, 244, 18_200, 256)
    assert resources(DEFAULT, 8).bram36 == 128


@pytest.mark.parametrize(("bits", "each"), [(2, 44), (1, 13)])
def test_products_in_luts_cost_what_finn_says(bits, each):
    """LUTs for each of 256 products of 4 x 4 and 2 x 2 bits, when there is no DSP slice."""
    config = replace(DEFAULT, log_inp_width=bits, log_wgt_width=bits)
    none = replace(PYNQ, dsp=0)
    multipliers = resources(config, 8, none).lut - (18_200 - 2_500) - 300
    assert multipliers / 256 == pytest.approx(each, abs=1)


def test_dsp_slices_hold_more_products_of_fewer_bits():
    four = replace(DEFAULT, log_inp_width=2, log_wgt_width=2)
    assert resources(four, 8).dsp == 64
    assert resources(replace(DEFAULT, log_wgt_width=1), 8).dsp == 0
    assert resources(DEFAULT, 8, ULTRA96, packed=True).dsp == 128
    assert resources(DEFAULT, 8, PYNQ, packed=True).dsp == 220


def test_products_beyond_the_dsp_slices_are_luts():
    on_pynq, on_ultra96 = (resources(DEFAULT, 8, on) for on in (PYNQ, ULTRA96))
    assert (on_pynq.dsp, on_ultra96.dsp) == (220, 256)
    assert on_pynq.lut > on_ultra96.lut


@pytest.mark.parametrize("board", [PYNQ, ULTRA96, ZCU104])
def test_the_default_fits_the_boards_it_runs_on(board):
    expect_fits(DEFAULT, 8, board)
    assert nearest_fitting(DEFAULT, 8, board) == DEFAULT


LARGE = replace(
    DEFAULT, log_block=5, log_inp_buff_size=16, log_wgt_buff_size=20, log_acc_buff_size=18
)


def test_refuses_with_the_resource_and_what_fits():
    LARGE.expect_encodable()
    both = r"needs \d+ of 53200 lut and 736 of 280 bram18 on xc7z020; "
    nearest = "the nearest that fits is 1x16_i8w8a32_15_15_18_17"
    with pytest.raises(DoesNotFit, match=both + nearest):
        expect_fits(LARGE, 8, PYNQ)
    nearest = r"the nearest that fits is 1x32_i8w8a32_15_16_19_18"
    with pytest.raises(DoesNotFit, match="needs 736 of 624 bram18 on xczu7ev; " + nearest):
        expect_fits(LARGE, 8, ZCU104)


def test_a_share_of_the_device_may_be_kept_free():
    assert resources(DEFAULT, 8, PYNQ).fits(PYNQ)
    with pytest.raises(DoesNotFit, match="256 of 196 bram18"):
        expect_fits(DEFAULT, 8, PYNQ, share=0.7)
    found = nearest_fitting(DEFAULT, 8, PYNQ, share=0.7)
    found.expect_encodable()
    assert resources(found, 8, PYNQ).fits(PYNQ, 0.7)


def test_says_when_nothing_fits():
    with pytest.raises(DoesNotFit, match="no smaller one fits either"):
        expect_fits(DEFAULT, 8, replace(PYNQ, lut=1000))


def test_names_the_devices():
    with pytest.raises(UnknownTarget, match="known are xc7z020, xczu3eg, xczu7ev"):
        device("xc7z010")
