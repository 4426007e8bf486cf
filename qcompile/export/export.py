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
from qcompile.export.network import (
    DEFAULT,
    Network,
    expect_distinct_names,
    expect_variant_name,
)
from qcompile.export.plan import make_plan
from qcompile.export.ports import read_ports
from qcompile.export.program import read_program
from qcompile.export.source import write_source, write_weights
from qcompile.export.symbols import check_library
from qcompile.export.toolchain import Toolchain
from qcompile.export.weights import store_weights
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
    variants: Mapping[str, tvm.IRModule] | None = None,
    report: Mapping[str, Any] | None = None,
    certificate: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    jobs: int | None = None,
) -> ExportResult:
    """Compile `mod` and write the bundle to the folder `output`, which appears whole or not at all.

    mod: `main` with calls of scheduled PrimFuncs, reshapes and constants; `variants` are more such
    modules, by name, that share its weights. The bundle's name is `name` as a C identifier;
    `progress` is told what happens; `jobs` kernels are compiled at a time. Raises Unsupported for
    another `main`, InvalidInput for a variant whose name is none in C, BundleError when `output`
    holds something else than a bundle, ToolchainError when the C compiler fails.
    """
    start = time.monotonic()
    say = progress or (lambda text: None)
    name = identifier(name)
    modules = {DEFAULT: mod, **(variants or {})}
    for variant in variants or {}:
        expect_variant_name(variant)
    with whole_folder(Path(output)) as folder, tempfile.TemporaryDirectory() as work:
        content = _compile(modules, name, target, Path(work), say, jobs)
        _write_sources(content, folder, Path(work))
        say("linking")
        _link(
            Toolchain(target.architecture, Path(work), say),
            content.objects,
            name,
            folder.absolute(),
        )
        manifest = make_manifest(
            list(modules.values()), content.networks, name, target, len(content.weights)
        )
        library = f"lib/lib{name}.so"
        manifest["files"] = checksums(folder, [library])
        papers = {"manifest": manifest, "report": report or {}, "certificate": certificate or {}}
        for paper, fields in papers.items():
            text = json.dumps(fields, indent=2, allow_nan=False)
            (folder / f"{paper}.json").write_text(text + "\n", encoding="utf-8")
        library_bytes = (folder / library).stat().st_size
    return ExportResult(Path(output), manifest, library_bytes, time.monotonic() - start)


@dataclass(frozen=True)
class _Content:
    name: str
    target: Target
    networks: Sequence[Network]
    objects: Sequence[str]
    weights: bytes


def _compile(
    modules: Mapping[str, tvm.IRModule],
    name: str,
    target: Target,
    work: Path,
    say: Callable[[str], None],
    jobs: int | None,
) -> _Content:
    """Kernels as object files in `work`, and what the C files need to know."""
    programs = [read_program(mod) for mod in modules.values()]
    prefixes = [name if variant == DEFAULT else f"{name}_{variant}" for variant in modules]
    ports = [read_ports(mod, p, name) for mod, p in zip(modules.values(), programs, strict=True)]
    weights = store_weights(programs)
    kernels, objects = compile_kernels(weights.programs, name, target.tvm_target(), work, say, jobs)
    networks = [
        Network(
            variant=variant,
            prefix=prefixes[k],
            ports=ports[k],
            plan=make_plan(weights.programs[k], kernels[k], weights.offsets[k]),
            weight_bytes_alone=len(store_weights([programs[k]]).content),
        )
        for k, variant in enumerate(modules)
    ]
    expect_distinct_names(networks)
    return _Content(name, target, networks, objects, weights.content)


def _write_sources(content: _Content, folder: Path, work: Path) -> None:
    """The header and the example into the bundle, what is compiled into `work`."""
    for part in ("include", "lib", "bin", "src"):
        (folder / part).mkdir()
    name, networks, target = content.name, content.networks, content.target
    header = write_header(name, networks, target.name, target.features)
    (folder / "include" / f"{name}.h").write_text(header)
    (folder / "src" / "main.c").write_text(write_example(name, networks[0].ports))
    (work / "weights.bin").write_bytes(content.weights or b"\0")
    (work / "weights.s").write_text(write_weights(name, "weights.bin"))
    (work / "run.c").write_text(write_source(name, networks, target))
    (work / "bench.c").write_text(write_bench(name, networks, target))


def _link(tools: Toolchain, objects: Sequence[str], name: str, folder: Path) -> None:
    """The libraries and the bench program, of the kernels' objects and the C files."""
    include = f"-I{folder / 'include'}"
    tools.assemble("weights.s", "weights.o")
    tools.merge([*objects, "weights.o"], "kernels.o")
    tools.compile("run.c", "run.o", include)
    tools.merge(["run.o", "kernels.o"], f"{name}.o")
    tools.archive([f"{name}.o"], str(folder / "lib" / f"lib{name}.a"))
    library = folder / "lib" / f"lib{name}.so"
    tools.link_library([f"{name}.o"], str(library))
    check_library(library, f"{name}_")
    tools.compile_program("bench.c", "bench.o", include)
    tools.link_program(["bench.o", "kernels.o"], str(folder / "bin" / f"{name}_bench"))
