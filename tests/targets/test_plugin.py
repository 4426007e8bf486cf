"""From TVM's targets to ours."""

import pytest
import tvm

from qcompile.errors import UnknownTarget
from qcompile.targets import list_processors, load_target, target_of
from qcompile.targets.x86 import X86_64


@pytest.mark.parametrize("name", [target.name for target in list_processors()])
def test_comes_back_from_tvm(name):
    target = load_target(name)
    assert target_of(target.tvm_target()) == target
    if target.architecture == X86_64:
        assert target_of(tvm.target.Target({"kind": "llvm", "mcpu": name})) == target


def test_heeds_mattr():
    target = target_of(tvm.target.Target({"kind": "llvm", "mcpu": "znver4", "mattr": ["-avx512f"]}))
    assert target.vector_bytes == 32 and target.vector_registers == 16
    assert "avx512vnni" not in target.features and "avx2" in target.features


def test_describes_a_processor_without_a_file():
    target = target_of(tvm.target.Target({"kind": "llvm", "mcpu": "sapphirerapids"}))
    assert {"avx512vnni", "avxvnni", "avx512fp16"} <= set(target.features)
    assert target.llvm["mcpu"] == "sapphirerapids" and target.vector_bytes == 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "llvm"}, "mcpu '' is not one of"),
        ({"kind": "llvm", "mcpu": "x86-64"}, "is not one of"),
        ({"kind": "c"}, "kind 'llvm' only"),
        ({"kind": "llvm", "mcpu": "znver4", "mattr": ["-avx"]}, "lacks avx"),
    ],
)
def test_refuses_what_it_does_not_know(fields, message):
    with pytest.raises(UnknownTarget, match=message):
        target_of(tvm.target.Target(fields))
