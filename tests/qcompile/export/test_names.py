"""Names of C: identifiers, and the instruction sets as processors and Linux tell them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.export.c_names import identifier, identifiers
from qcompile.export.processor import CPUID, HWCAPS, processor_check
from qcompile.targets.arm import AARCH64, ARMV7
from qcompile.targets.x86 import X86_64


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_become_different_identifiers(names):
    found = identifiers(names, "net_")
    assert len(set(found)) == len(names)
    for name in found:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        assert not name.startswith("net_")


def test_identifiers_stay_close_to_names():
    assert identifiers(["input.1", "input:1", "int", "7", "", "net_x"], "net_") == [
        *("input_1", "input_1_2", "int_", "n7", "tensor", "of_net_x"),
    ]
    assert identifier("mobilenet-v2.onnx") == "mobilenet_v2_onnx"


@pytest.mark.parametrize(
    ("places", "architecture"),
    [(CPUID, X86_64), (HWCAPS["aarch64"], AARCH64), (HWCAPS["armv7"], ARMV7)],
)
def test_every_feature_of_a_target_is_asked_for(places, architecture):
    assert set(places) == set(architecture.features)
    assert len(set(places.values())) == len(places)


@pytest.mark.parametrize(
    ("architecture", "features", "conditions"),
    [
        (AARCH64, ["neon", "dotprod"], {"has(AT_HWCAP, 0x100002ul)"}),
        (AARCH64, ["neon", "i8mm"], {"has(AT_HWCAP, 0x2ul)", "has(AT_HWCAP2, 0x2000ul)"}),
        (ARMV7, ["neon", "vfp4"], {"has(AT_HWCAP, 0x11000ul)"}),
    ],
)
def test_arm_processors_are_asked_for_every_bit(architecture, features, conditions):
    function = processor_check(architecture, features).partition("int processor_fits(void)")[2]
    assert set(re.findall(r"has\([^)]*\)", function)) == conditions


def test_wide_vectors_need_the_system_to_save_them():
    assert "saves(0x6u)" in processor_check(X86_64, ["avx2"])
    assert "saves(0xe6u)" in processor_check(X86_64, ["avx2", "avx512f"])
