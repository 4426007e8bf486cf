"""Target files: what is read, and the message for each way a file can be wrong."""

import os
import re

import pytest

from qcompile.errors import UnknownTarget
from qcompile.targets import VtaTarget, list_processors, list_targets, load_processor, load_target
from qcompile.targets.loader import FOLDER

ARM = ["aarch64", "armv7", "armv7-a9", "neoverse-n2", "rpi3", "rpi4", "rpi5"]
NAMES = [
    *ARM,
    "alderlake",
    "cascadelake",
    "icelake-server",
    "skylake-avx512",
    "x86-64-v3",
    "znver4",
]

PROCESSORS = [target.name for target in list_processors()]
BOARDS = ["vta-de10nano", "vta-pynq", "vta-ultra96", "vta-zcu104"]


def test_knows_its_processors():
    assert set(NAMES) < set(PROCESSORS) < set(list_targets())
    assert set(list_targets()) == {*PROCESSORS, *BOARDS}


@pytest.mark.parametrize("name", BOARDS)
def test_reads_boards(name):
    board = load_target(name)
    assert isinstance(board, VtaTarget) and board.name == name
    assert board.config.name == "1x16_i8w8a32_15_15_18_17" and f"vta-{board.config.target}" == name
    zynq = name in ("vta-pynq", "vta-de10nano")
    assert (board.port_bytes, board.clock_hz) == ((8, 100e6) if zynq else (16, 333e6))
    assert board.host.llvm["mcpu"] == ("cortex-a9" if zynq else "cortex-a53")


def test_takes_no_board_for_a_processor():
    with pytest.raises(UnknownTarget, match=r"vta-pynq: a processor is needed.*znver4"):
        load_processor("vta-pynq")
    assert load_processor("znver4") == load_target("znver4")


@pytest.mark.parametrize("name", PROCESSORS)
def test_reads_every_file(name):
    target = load_target(name)
    assert target.name == name and target.source
    assert target.l1d_bytes < target.l2_bytes
    assert target.l3_bytes == 0 or target.l2_bytes < target.l3_bytes
    assert 0.5e9 < target.clock_hz < 6e9


@pytest.mark.parametrize("name", PROCESSORS)
def test_switches_exactly_its_features_on(name):
    tvm = pytest.importorskip("tvm")
    target = load_target(name)
    llvm = tvm.get_global_func("target.llvm_get_cpu_features")(target.tvm_target())
    assert {str(feature) for feature in llvm} & set(target.architecture.features) == set(
        target.features
    )


def test_tells_what_runs_where():
    assert load_target("x86-64-v3").runs_on(load_target("znver4").features)
    assert not load_target("znver5").runs_on(load_target("znver4").features)


@pytest.mark.parametrize(
    ("name", "hint"), [("zenver4", "did you mean 'znver4'?"), ("host2", "'host'"), ("", "known:")]
)
def test_names_the_targets_it_knows(name, hint):
    with pytest.raises(UnknownTarget, match=re.escape(hint)) as error:
        load_target(name)
    assert "cascadelake" in str(error.value)


def changed(tmp_path, old, new):
    text = (FOLDER / "znver4.toml").read_text()
    assert old in text
    path = tmp_path / "board.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_reads_a_file_of_the_users(tmp_path):
    target = load_target(changed(tmp_path, "cores = 8", "cores = 6"))
    assert (target.name, target.cores) == ("board", 6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cores = 8", "cores = 0", "cores = 0: expected a positive integer"),
        ("cores = 8", "cores = true", "cores = True: expected a positive integer"),
        ("cores = 8", "cores = '8'", "cores = '8': expected a positive integer"),
        ("cores = 8", "", "field 'cores' is missing"),
        ("cores = 8", "cores = 8\ncore = 8", "unknown field 'core'; did you mean 'cores'?"),
        ("cores = 8", "cores =", "not a TOML file"),
        ("clock_hz = 3.7e9", "clock_hz = nan", "clock_hz = nan"),
        ('source = "AMD', 'source = ""  # "AMD', "expected where the facts come from"),
        ('"avx512vnni"', '"avx512_vnni"', "unknown feature 'avx512_vnni'; did you mean"),
        ('"avx512bw", ', "", "64-byte vectors in 32 registers need avx512bw"),
        ('"avx2", ', "", "features lack avx2"),
        ("vector_bytes = 64", "vector_bytes = 128", "vector_bytes = 128: expected 32 or 64"),
        ("vector_registers = 32", "vector_registers = 8", "vector_registers = 8"),
        ('mcpu = "znver4"', 'mcpu = "zen4"', "unknown target.mcpu 'zen4'"),
        ('mcpu = "znver4"', "", "field of [target] 'mcpu' is missing"),
        ('mcpu = "znver4"', 'mcpu = "znver4"\nmattr = "+avx"', "unknown field of [target] 'mattr'"),
        ('kind = "llvm"', 'kind = "cuda"', "target.kind = 'cuda'"),
        ("x86_64-unknown", "riscv64-unknown", "unknown target.mtriple"),
        ("x86_64-unknown-linux-gnu", "aarch64-linux-gnu", "unknown target.mcpu 'znver4'"),
        ("[target]", "[targets]", "unknown field 'targets'"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, old, new, message):
    with pytest.raises(UnknownTarget, match=re.escape(message)) as error:
        load_target(changed(tmp_path, old, new))
    assert "board.toml" in str(error.value)


def test_says_when_there_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UnknownTarget, match=r"pipe\.toml: cannot be read: not a regular file"):
        load_target(str(tmp_path / "pipe.toml"))
    with pytest.raises(UnknownTarget, match=r"none\.toml: cannot be read: No such file"):
        load_target(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UnknownTarget, match="not a TOML file"):
        load_target(str(tmp_path / "binary.toml"))
