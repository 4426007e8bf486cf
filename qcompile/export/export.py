"""Write a scheduled module as a bundle: a library that needs nothing but libc, and its papers."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.bench_source import write_bench
from qcompile.export.c_names import identifier
from qcompile.export.compile import compile_kernels
from qcompile.export.folder import whole_folder
from qcompile.export.header import write_example, write_header
from qcompile.export.manifest import checksums, make_manifest
from qcompile.export.plan import Plan, make_plan
from qcompile.export.ports import Ports, read_ports
from qcompile.export.program import Program, read_program
from qcompile.export.source import write_source, write_weights
from qcompile.export.symbols import check_library
from qcompile.export.toolchain import LIBRARY_TRIPLE, PROGRAM_TRIPLE, Toolchain
from qcompile.targets import Target


@dataclass(frozen=True)
class ExportResult:
    """A bundle as it was written."""

    folder: Path
    manifest: Mapping[str, Any]
    library_bytes: int
    export_s: float


def export_bundle(
    mod: tvm.IRModule,
    *,
    name: str,
    target: Target,
    output: str | Path,
    report: Mapping[str, Any] | None = None,
    certificate: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    jobs: int | None = None,
) -> ExportResult:
    """Compile `mod` and write the bundle to the folder `output`, which appears whole or not at all.

    mod: `main` with calls of scheduled PrimFuncs, reshapes and constants. The bundle's name is
    `name` as a C identifier; `progress` is told what happens; `jobs` kernels are compiled at a
    time. Raises Unsupported for another `main`, BundleError when `output` holds something else than
    a bundle, ToolchainError when the C compiler fails.
    """
    start = time.monotonic()
    say = progress or (lambda text: None)
    name = identifier(name)
    program = read_program(mod)
    ports = read_ports(mod, program, name)
    with whole_folder(Path(output)) as folder, tempfile.TemporaryDirectory() as work:
        kernels, objects = compile_kernels(
            mod, program, name, target.tvm_target(), Path(work), say, jobs
        )
        network = _Network(name, target, program, ports, make_plan(program, kernels))
        _write_sources(network, folder, Path(work))
        say("linking")
        _link(Toolchain(Path(work), say), objects, name, folder.absolute())
        manifest = make_manifest(mod, name, target, ports, network.plan)
        library = f"lib/lib{name}.so"
        manifest["files"] = checksums(folder, [library])
        papers = {"manifest": manifest, "report": report or {}, "certificate": certificate or {}}
        for paper, content in papers.items():
            text = json.dumps(content, indent=2, allow_nan=False)
            (folder / f"{paper}.json").write_text(text + "\n", encoding="utf-8")
        library_bytes = (folder / library).stat().st_size
    return ExportResult(Path(output), manifest, library_bytes, time.monotonic() - start)


@dataclass(frozen=True)
class _Network:
    name: str
    target: Target
    program: Program
    ports: Ports
    plan: Plan


def _write_sources(network: _Network, folder: Path, work: Path) -> None:
    """The header and the example into the bundle, what is compiled into `work`."""
    for part in ("include", "lib", "bin", "src"):
        (folder / part).mkdir()
    name, ports, plan, target = network.name, network.ports, network.plan, network.target
    header = write_header(name, ports, target.name, target.features, plan.workspace_bytes)
    (folder / "include" / f"{name}.h").write_text(header)
    (folder / "src" / "main.c").write_text(write_example(name, ports))
    blob = bytearray(max(plan.weight_bytes, 1))
    for offset, array in zip(plan.constant_offsets, network.program.constants, strict=True):
        blob[offset : offset + array.nbytes] = array.tobytes()
    (work / "weights.bin").write_bytes(blob)
    (work / "weights.s").write_text(write_weights(name, "weights.bin"))
    (work / "run.c").write_text(write_source(name, ports, plan, target.features))
    (work / "bench.c").write_text(write_bench(name, ports, plan, target.features))


def _link(tools: Toolchain, objects: Sequence[str], name: str, folder: Path) -> None:
    """The libraries and the bench program, of the kernels' objects and the C files."""
    include = f"-I{folder / 'include'}"
    tools.assemble("weights.s", "weights.o", LIBRARY_TRIPLE)
    tools.merge([*objects, "weights.o"], "kernels.o")
    tools.compile("run.c", "run.o", LIBRARY_TRIPLE, include)
    tools.merge(["run.o", "kernels.o"], f"{name}.o")
    tools.archive([f"{name}.o"], str(folder / "lib" / f"lib{name}.a"))
    library = folder / "lib" / f"lib{name}.so"
    tools.link_library([f"{name}.o"], str(library))
    check_library(library, f"{name}_")
    tools.compile("bench.c", "bench.o", PROGRAM_TRIPLE, include)
    tools.link_program(["bench.o", "kernels.o"], str(folder / "bin" / f"{name}_bench"))
