"""Write a scheduled module as a bundle: a library that needs nothing but libc, and its papers."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm

from qcompile.export.accelerated import (
    Accelerator,
    accelerator_fields,
    link_simulated,
    segment_files,
    simulated_library,
    write_vta_folder,
)
from qcompile.export.c_names import identifier
from qcompile.export.content import compile_content
from qcompile.export.folder import whole_folder
from qcompile.export.header import write_example
from qcompile.export.link import link, write_sources
from qcompile.export.manifest import checksums, make_manifest
from qcompile.export.network import DEFAULT, expect_variant_name
from qcompile.export.toolchain import Toolchain
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
    threads: int = 1,
    variants: Mapping[str, tvm.IRModule] | None = None,
    report: Mapping[str, Any] | None = None,
    certificate: Mapping[str, Any] | None = None,
    accelerator: Accelerator | None = None,
    progress: Callable[[str], None] | None = None,
    jobs: int | None = None,
) -> ExportResult:
    """Compile `mod` and write the bundle to the folder `output`, which appears whole or not at all.

    mod: `main` with calls of scheduled PrimFuncs, reshapes and constants; `variants` are more such
    modules, by name, that share its weights; `accelerator` computes the segments that `mod` calls.
    The bundle's name is `name` as a C identifier; `progress` is told what happens; `jobs` kernels
    are compiled at a time; `threads` are those that its users begin with. Raises Unsupported for
    another `main`, InvalidInput for a variant whose name is none in C, BundleError when `output`
    holds something else than a bundle, ToolchainError when the C compiler fails.
    """
    start = time.monotonic()
    say = progress or (lambda text: None)
    name = identifier(name)
    modules = {DEFAULT: mod, **(variants or {})}
    segments = accelerator.segments if accelerator is not None else ()
    for variant in variants or {}:
        expect_variant_name(variant)
    with whole_folder(Path(output)) as folder, tempfile.TemporaryDirectory() as work:
        place = Path(work)
        content = compile_content(modules, name, target, place, say, jobs, segments)
        for part in ("include", "lib", "bin", "src"):
            (folder / part).mkdir()
        write_sources(content, folder / "include", place)
        example = write_example(name, content.networks[0].ports, accelerator is not None)
        (folder / "src" / "main.c").write_text(example)
        if accelerator is not None:
            write_vta_folder(accelerator, name, folder)
        say("linking")
        link(Toolchain(target.architecture, place, say), content, folder.absolute())
        manifest = make_manifest(
            list(modules.values()), content.networks, name, target, len(content.weights), threads
        )
        library = f"lib/lib{name}.so"
        checked = [library]
        if accelerator is not None:
            say("the host part for simulations")
            simulated = link_simulated(accelerator, name, folder, say, jobs)
            manifest["vta"] = accelerator_fields(accelerator) | {"simulated": simulated}
            checked += [*segment_files(segments), simulated_library(name)]
        manifest["files"] = checksums(folder, checked)
        papers = {"manifest": manifest, "report": report or {}, "certificate": certificate or {}}
        for paper, fields in papers.items():
            text = json.dumps(fields, indent=2, allow_nan=False)
            (folder / f"{paper}.json").write_text(text + "\n", encoding="utf-8")
        library_bytes = (folder / library).stat().st_size
    return ExportResult(Path(output), manifest, library_bytes, time.monotonic() - start)
