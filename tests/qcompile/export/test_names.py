"""Names of C: identifiers, and the instruction sets in CPUID."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from qcompile.export.c_names import identifier, identifiers
from qcompile.export.processor import CPUID, processor_check
from qcompile.targets.x86 import FEATURES, X86_64


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


def test_every_feature_of_a_target_is_asked_for():
    assert set(CPUID) == set(FEATURES)
    places = list(CPUID.values())
    assert len(set(places)) == len(places)


def test_wide_vectors_need_the_system_to_save_them():
    assert "saves(0x6u)" in processor_check(X86_64, ["avx2"])
    assert "saves(0xe6u)" in processor_check(X86_64, ["avx2", "avx512f"])
