"""Programs of loops on registers and of walks through memory, for modelled cores."""

import pytest
from loops import PROGRAM, TURNS

from qcompile.export.toolchain import Toolchain
from qcompile.targets import load_target


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """build(main, target): the path of a static program whose `main` has these lines."""

    def compile_program(main, target):
        folder = tmp_path_factory.mktemp("program")
        source = f"#define TURNS {TURNS}\n{PROGRAM}\nint main(void) {{\n{main}\nreturn 0;\n}}\n"
        (folder / "main.c").write_text(source)
        tools = Toolchain(load_target(target).architecture, folder, lambda text: None)
        features = "+dotprod" if "dotprod" in load_target(target).features else ""
        tools.compile_program("main.c", "main.o", "-O2", f"-mcpu=generic{features}")
        tools.link_program(["main.o"], "program")
        return folder / "program"

    return compile_program
