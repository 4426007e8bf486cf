"""Zig's tools make code for the architecture that they are asked for."""

import struct

import pytest

from qcompile.export.toolchain import Toolchain
from qcompile.targets.architectures import ARCHITECTURES

# Class (32 or 64 bits) and machine in ELF's header. Source: System V ABI, chapter 4.
HEADERS = {"x86_64": (64, 62), "aarch64": (64, 183), "armv7": (32, 40)}
# What compilers define of an architecture; the last one: floats are passed in vector registers.
MACROS = {
    "x86_64": "defined(__x86_64__)",
    "aarch64": "defined(__aarch64__) && defined(__ARM_NEON)",
    "armv7": "defined(__arm__) && __ARM_ARCH == 7 && defined(__ARM_NEON) && defined(__ARM_PCS_VFP)",
}

SOURCE = """
#include <features.h>
#if !({macros})
#error another architecture
#endif
#if defined(__GLIBC__) != {glibc}
#error another C library
#endif
__attribute__((visibility("default"))) float twice(float x) {{ return 2 * x; }}
"""


@pytest.fixture(scope="module", params=list(ARCHITECTURES.values()), ids=lambda found: found.name)
def architecture(request):
    return request.param


@pytest.fixture(scope="module")
def folder(architecture, tmp_path_factory):
    """A library of an object for the platform's C library; an object for programs."""
    folder = tmp_path_factory.mktemp("zig")
    tools = Toolchain(architecture, folder, print)
    for name, glibc, work in (
        ("library", 1, tools.compile),
        ("program", 0, tools.compile_program),
    ):
        source = SOURCE.format(macros=MACROS[architecture.name], glibc=glibc)
        (folder / f"{name}.c").write_text(source)
        work(f"{name}.c", f"{name}.o")
    tools.link_plain(["library.o"], "library.so")
    return folder


@pytest.mark.parametrize("file", ["library.o", "library.so", "program.o"])
def test_makes_code_for_the_architecture(architecture, folder, file):
    content = (folder / file).read_bytes()
    (machine,) = struct.unpack_from("<H", content, 18)
    assert ({1: 32, 2: 64}[content[4]], machine) == HEADERS[architecture.name]
