"""Write a scheduled module as a bundle: a library that needs nothing but libc, and its papers."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
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
    `name` as a C identifier. Raises Unsupported for another `main`, BundleError when `output` holds
    something else than a bundle, ToolchainError when the C compiler fails.
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
        plan = make_plan(program, kernels)
        _write_papers(folder, name, target, ports, plan)
        tools = Toolchain(Path(work), say)
        _link(tools, folder, name, program, ports, plan, target, objects)
        manifest = make_manifest(mod, name, target, ports, plan)
        library = f"lib/lib{name}.so"
        manifest["files"] = checksums(folder, [library])
        papers = {"manifest": manifest, "report": report or {}, "certificate": certificate or {}}
        for paper, content in papers.items():
            text = json.dumps(content, indent=2, allow_nan=False)
            (folder / f"{paper}.json").write_text(text + "\n", encoding="utf-8")
        library_bytes = (folder / library).stat().st_size
    return ExportResult(Path(output), manifest, library_bytes, time.monotonic() - start)


def _write_papers(folder: Path, name: str, target: Target, ports: Ports, plan: Plan) -> None:
    for part in ("include", "lib", "bin", "src"):
        (folder / part).mkdir()
    header = write_header(name, ports, target.name, target.features, plan.workspace_bytes)
    (folder / "include" / f"{name}.h").write_text(header)
    (folder / "src" / "main.c").write_text(write_example(name, ports))


def _link(
    tools: Toolchain,
    folder: Path,
    name: str,
    program: Program,
    ports: Ports,
    plan: Plan,
    target: Target,
    objects: list[str],
) -> None:
    tools.progress("linking")
    blob = bytearray(max(plan.weight_bytes, 1))
    for offset, array in zip(plan.constant_offsets, program.constants, strict=True):
        blob[offset : offset + array.nbytes] = array.tobytes()
    (tools.work / "weights.bin").write_bytes(blob)
    (tools.work / "weights.s").write_text(write_weights(name, "weights.bin"))
    (tools.work / f"{name}.c").write_text(write_source(name, ports, plan, target.features))
    include = f"-I{(folder / 'include').absolute()}"
    tools.assemble("weights.s", "weights.o", LIBRARY_TRIPLE)
    tools.merge([*objects, "weights.o"], "kernels.o")
    tools.compile(f"{name}.c", "run.o", LIBRARY_TRIPLE, include)
    tools.merge(["run.o", "kernels.o"], f"{name}.o")
    library = (folder / "lib" / f"lib{name}.so").absolute()
    tools.archive([f"{name}.o"], str(library.with_suffix(".a")))
    tools.link_library([f"{name}.o"], str(library))
    check_library(library, f"{name}_")
    (tools.work / "bench.c").write_text(write_bench(name, ports, plan, target.features))
    tools.compile("bench.c", "bench.o", PROGRAM_TRIPLE, include)
    tools.link_program(["bench.o", "kernels.o"], str((folder / "bin" / f"{name}_bench").absolute()))
