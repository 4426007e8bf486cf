"""From a bundle's content to its header, its libraries and its program."""

from pathlib import Path

from qcompile.export.accelerator import write_images, write_tables
from qcompile.export.bench_source import write_bench
from qcompile.export.content import Content
from qcompile.export.header import write_header
from qcompile.export.source import write_source, write_weights
from qcompile.export.symbols import check_library
from qcompile.export.toolchain import Toolchain


def write_sources(content: Content, header: Path, work: Path) -> None:
    """The header into the folder `header`, what is compiled into `work`."""
    name, networks, target = content.name, content.networks, content.target
    text = write_header(name, networks, target.name, target.features, content.segments)
    (header / f"{name}.h").write_text(text)
    (work / "weights.bin").write_bytes(content.weights or b"\0")
    (work / "weights.s").write_text(write_weights(name, "weights.bin"))
    (work / "run.c").write_text(write_source(name, networks, target, content.segments))
    (work / "bench.c").write_text(write_bench(name, networks, target, content.segments))


def link(tools: Toolchain, content: Content, folder: Path) -> None:
    """The libraries and the bench program, of the kernels' objects and the C files."""
    name, include = content.name, f"-I{folder / 'include'}"
    tools.merge([*content.objects, *_constants(tools, content, include)], "kernels.o")
    link_library(tools, content, folder / "lib" / f"lib{name}.so", include)
    tools.archive([f"{name}.o"], str(folder / "lib" / f"lib{name}.a"))
    drivers, objects = folder / "vta" / "driver", ["bench.o", "kernels.o"]
    if content.segments:
        tools.compile_program(str(drivers / f"{name}_vta_linux.c"), "driver.o", include)
        objects.append("driver.o")
    tools.compile_program("bench.c", "bench.o", include, f"-I{drivers}")
    tools.link_program(objects, str(folder / "bin" / f"{name}_bench"))


def link_library(tools: Toolchain, content: Content, library: Path, include: str) -> None:
    """The shared library of run.c and kernels.o; NAME.o is then both."""
    name = content.name
    tools.compile("run.c", "run.o", include)
    tools.merge(["run.o", "kernels.o"], f"{name}.o")
    tools.link_library([f"{name}.o"], str(library))
    check_library(library, f"{name}_")


def _constants(tools: Toolchain, content: Content, include: str) -> list[str]:
    """Objects of the weights, and of the segments' instructions and images."""
    tools.assemble("weights.s", "weights.o")
    if not content.segments:
        return ["weights.o"]
    files = {}
    for k, segment in enumerate(content.segments):
        for kind, data in (("code", segment.instructions), ("image", segment.image)):
            files[f"vta_{kind}_{k}"] = file = f"{kind}_{k}.bin"
            (tools.work / file).write_bytes(data)
    (tools.work / "images.s").write_text(write_images(content.name, files))
    (tools.work / "tables.c").write_text(write_tables(content.name, content.segments))
    tools.assemble("images.s", "images.o")
    tools.compile("tables.c", "tables.o", include)
    return ["weights.o", "images.o", "tables.o"]
