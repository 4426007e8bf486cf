"""What is made of Linux' description of a machine."""

import pytest

from qcompile.errors import UnknownTarget
from qcompile.targets import (
    host_architecture,
    host_features,
    host_target,
    list_processors,
    load_target,
)
from qcompile.targets.host import detect
from qcompile.targets.x86 import FEATURES, X86_64

X86 = [known.name for known in list_processors() if known.architecture == X86_64]


def machine(tmp_path, features, caches=(("1", "Data", "48K"), ("2", "Unified", "2048K"))):
    """The files of a machine with those features and caches."""
    flags = " ".join(FEATURES[name] for name in features)
    core = "vendor_id\t: Vendor\ncpu family\t: 6\nmodel\t\t: 7\nmodel name\t: Test\n"
    core += f"flags\t\t: {flags}\n"
    (tmp_path / "cpuinfo").write_text(core + "cpu MHz\t\t: 2500.5\n\n" + core)
    for number, fields in enumerate(caches):
        folder = tmp_path / "cpu0" / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for name, value in zip(("level", "type", "size"), fields, strict=True):
            (folder / name).write_text(value + "\n")
    return tmp_path / "cpuinfo", tmp_path / "cpu0"


def found(tmp_path, features):
    return detect(list_processors(), *machine(tmp_path, features))


@pytest.mark.parametrize("name", X86)
def test_schedules_for_the_same_processor(tmp_path, name):
    host = found(tmp_path, load_target(name).features)
    assert host.llvm["mcpu"] == name and host.features == load_target(name).features
    assert (host.l1d_bytes, host.l2_bytes) == (48 * 1024, 2048 * 1024)
    assert host.l3_bytes == load_target(name).l3_bytes
    assert host.clock_hz == 2500.5e6
    assert host.source == f"detected: Test (Vendor family 6 model 7), scheduled as {name}"


def test_keeps_to_what_a_virtual_machine_shows(tmp_path):
    shown = [name for name in load_target("znver5").features if name != "avxvnni"]
    assert set(found(tmp_path, shown).features) == set(shown)


def test_needs_the_wide_features_for_wide_vectors(tmp_path):
    shown = [name for name in load_target("cascadelake").features if name != "avx512bw"]
    assert found(tmp_path, shown).vector_bytes == 32


def test_refuses_an_old_processor(tmp_path):
    with pytest.raises(UnknownTarget, match="this processor lacks avx2, fma"):
        found(tmp_path, [n for n in load_target("x86-64-v3").features if n not in ("avx2", "fma")])


def test_knows_no_features_of_other_machines(tmp_path):
    (tmp_path / "cpuinfo").write_text("isa : rv64gc\n")
    assert host_features(tmp_path / "cpuinfo") == ()
    known = list_processors()
    with pytest.raises(
        UnknownTarget, match=r"no processor that targets have \(aarch64, armv7, x86"
    ):
        detect(known, tmp_path / "cpuinfo", tmp_path / "cpu0")
    assert host_features(tmp_path / "none") == ()


@pytest.mark.skipif("avx2" not in host_features(), reason="needs AVX2")
def test_describes_this_machine():
    host = host_target()
    assert host == load_target("host")
    assert host.runs_on(host_features()) and host.cores >= 1


@pytest.mark.parametrize("name", ["aarch64", "neoverse-n2", "armv7-a7"])
def test_describes_an_arm_machine(tmp_path, name):
    target = load_target(name)
    shown = " ".join(target.architecture.features[feature] for feature in target.features)
    core = f"processor\t: 0\nFeatures\t: fp {shown}\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n"
    (tmp_path / "cpuinfo").write_text(core)
    assert host_features(tmp_path / "cpuinfo") == target.features
    assert host_architecture(tmp_path / "cpuinfo") == target.architecture
    known = list_processors()
    host = detect(known, tmp_path / "cpuinfo", tmp_path / "cpu0")
    assert host.architecture == target.architecture and host.features == target.features
    assert "implementer 0x41 part 0xd03" in host.source
