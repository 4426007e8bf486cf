"""The driver for Linux: it compiles for every board, and drives a device that a thread plays."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vta_board import MEMORY_ADDRESS, PAGE, WINDOW, Board, board
from vta_modules import accelerator, module, reference

from qcompile.export import export_bundle
from qcompile.export.toolchain import Toolchain
from qcompile.targets import load_target

HOST = "x86-64-v3"
CODES = {"REGISTERS": -6, "MEMORY": -7, "ADDRESS": -8, "SPACE": -9, "TIMEOUT": -10}


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    """The network with its driver, for this machine as the board's host."""
    work = tmp_path_factory.mktemp("driver")
    bundle = work / "net"
    target = load_target(HOST)
    export_bundle(module(HOST), name="net", target=target, output=bundle, accelerator=accelerator())
    tools = Toolchain(target.architecture, work, lambda what: None)
    compile_driver(tools, bundle)
    shared = work / "libdriver.so"
    whole = ["-Wl,--whole-archive", str(bundle / "lib" / "libnet.a"), "-Wl,--no-whole-archive"]
    tools.link_library(["net_vta_linux.o", *whole], str(shared))
    return ctypes.CDLL(str(shared))


def compile_driver(tools: Toolchain, bundle: Path) -> None:
    """The object of the driver; the toolchain's flags make every warning an error."""
    source = bundle / "vta" / "driver" / "net_vta_linux.c"
    flags = (f"-I{bundle / 'include'}", "-fvisibility=default")
    tools.compile(str(source), "net_vta_linux.o", *flags)


@pytest.mark.parametrize("host", ["armv7-a9", "aarch64"])
def test_compiles_for_boards_without_warnings(vta_bundle, tmp_path, host):
    tools = Toolchain(load_target(host).architecture, tmp_path, lambda what: None)
    compile_driver(tools, vta_bundle)
    assert (tmp_path / "net_vta_linux.o").stat().st_size > 0


@pytest.mark.emulated
def test_the_example_opens_the_driver(vta_bundle, tmp_path):
    if shutil.which("qemu-arm") is None:
        pytest.skip("no qemu-arm")
    tools = Toolchain(load_target("armv7-a9").architecture, tmp_path, lambda what: None)
    includes = [f"-I{vta_bundle / place}" for place in ("include", "vta/driver")]
    sources = ("src/main.c", "vta/driver/net_vta_linux.c")
    for number, source in enumerate(sources):
        tools.compile_program(str(vta_bundle / source), f"{number}.o", *includes)
    tools.link_program(["0.o", "1.o", str(vta_bundle / "lib" / "libnet.a")], "example")
    command = ["qemu-arm", tmp_path / "example"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "net: the contiguous memory cannot be opened or mapped\n"


def run(library: ctypes.CDLL, x: np.ndarray) -> tuple[int, np.ndarray]:
    y = np.empty((1, 16), "int8")
    memory = np.empty(1 << 16, "uint8")
    aligned = memory[-memory.ctypes.data % 64 :]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y, aligned)]
    return library.net_run(*pointers), y


@pytest.mark.parametrize("design", [0, 1], ids=["hls", "rtl"])
def test_drives_a_board(library, tmp_path, design):
    with board(tmp_path, design) as found:
        assert library.net_vta_open(ctypes.byref(found.options())) == 0
        for seed in range(3):
            x = np.random.default_rng(seed).integers(-128, 128, (1, 16), dtype="int8")
            status, y = run(library, x)
            assert status == 0
            np.testing.assert_array_equal(y, reference(x))
        library.net_vta_close()
    assert found.launches == [MEMORY_ADDRESS + WINDOW + PAGE] * 3
    assert run(library, x)[0] == -5  # no accelerator any more


def test_needs_an_accelerator(library):
    library.net_set_vta(None, None)
    assert run(library, np.zeros((1, 16), "int8"))[0] == -5


@pytest.mark.parametrize(
    ("others", "error"),
    [
        ({"memory": b"/nowhere"}, "MEMORY"),
        ({"registers": b"/nowhere"}, "REGISTERS"),
        ({"memory_address": MEMORY_ADDRESS + 64}, "ADDRESS"),
        ({"memory_address": 0}, "ADDRESS"),  # no u-dma-buf device tells one of this file
        ({"window": 2**32 - MEMORY_ADDRESS}, "ADDRESS"),
        ({"memory_bytes": PAGE}, "SPACE"),
    ],
)
def test_refuses_what_is_not_there(library, tmp_path, others, error):
    found = Board(tmp_path, 0)
    assert library.net_vta_open(ctypes.byref(found.options(**others))) == CODES[error]


def test_gives_up_on_a_board_that_does_not_answer(library, tmp_path):
    found = Board(tmp_path, 0)
    assert library.net_vta_open(ctypes.byref(found.options(timeout_ms=20))) == 0
    assert run(library, np.zeros((1, 16), "int8"))[0] == CODES["TIMEOUT"]
    library.net_error.restype = ctypes.c_char_p
    assert library.net_error(CODES["TIMEOUT"]) == b"the accelerator did not finish in time"


@pytest.mark.emulated
def test_the_program_of_a_bundle_says_what_is_missing(vta_bundle, tmp_path):
    """bin/NAME_bench opens the driver; an emulated processor has no accelerator."""
    if shutil.which("qemu-arm") is None:
        pytest.skip("no qemu-arm")
    program = vta_bundle / "bin" / "net_bench"
    done = subprocess.run(["qemu-arm", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the contiguous memory cannot be opened or mapped: No such file" in done.stderr
