"""Bundles in C and C++ programs: what they link, what they export, what they touch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_modules import DEPTH, ROWS, classifier, classify, many_outputs, row_sums

from qcompile.export import export_bundle
from qcompile.export.elf import read_symbols
from qcompile.export.toolchain import cache_folder
from qcompile.targets import host_features, load_target
from qcompile.targets.x86 import X86_64

TARGET = load_target("x86-64-v3")
ZIG = [sys.executable, "-m", "ziglang", "cc"]
COMPILERS = {
    "gcc": ["gcc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"],
    "g++": ["g++", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x", "c++"],
    "zig": [*ZIG, "-target", X86_64.library_triple, "-std=c99", "-Wall"],
}

# What a library gives, and what it may take from the C library.
FUNCTIONS = ("run", "error", "set_threads", "threads", "set_spin")
SYSTEM = {
    *("clock_gettime", "expf", "free", "getpid", "memcpy", "memset", "posix_memalign"),
    *("sigfillset", "syscall", "__cxa_finalize"),
    *(f"pthread_{f}" for f in ("create", "join", "sigmask")),
    *(f"pthread_attr_{f}" for f in ("destroy", "init", "setstacksize")),
    *(f"pthread_mutex_{f}" for f in ("lock", "trylock", "unlock")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    modules = {"classifier": classifier(), "many": many_outputs(), "rows": row_sums()}
    for name, mod in modules.items():
        export_bundle(mod, name=name, target=TARGET, output=folder / name)
    return folder


def compiled(compiler: str, source: Path, output: Path, folder: Path, *names: str) -> Path:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {compiler}")
    includes = [f"-I{folder / name / 'include'}" for name in names]
    archives = [str(folder / name / "lib" / f"lib{name}.a") for name in names]
    # A language that is named for the source would hold for the archives too.
    language = ["-x", "none"] if "-x" in command else []
    subprocess.run(
        [*command, source, *includes, *language, *archives, "-lm", "-lpthread", "-o", output],
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache_folder())},
        check=True,
    )
    return output


def expect_runnable() -> None:
    if not TARGET.runs_on(host_features()):
        pytest.skip(f"this processor cannot run {TARGET.name}")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["classifier", "many"])
def test_the_example_compiles_and_runs(folder, tmp_path, compiler, name):
    expect_runnable()
    source = folder / name / "src" / "main.c"
    program = compiled(compiler, source, tmp_path / "example", folder, name)
    shown = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert f"{0.025 if name == 'classifier' else 0:g}" in shown


TWO_NETWORKS = """
#include <stdio.h>
#include <stdlib.h>
#include "classifier.h"
#include "rows.h"

int main(void) {
    int32_t sum[5];
    void *memory = NULL;
    int32_t *x = malloc(sizeof *x * rows_x_LENGTH);
    for (int k = 0; k < rows_x_LENGTH; ++k) x[k] = k % 7;
    float *in = calloc(classifier_x_LENGTH, sizeof *in);
    float *out = malloc(sizeof *out * classifier_output_0_LENGTH);
    int failures = 0;
    for (int threads = 1; threads <= 3; ++threads) {
        failures += rows_set_threads(threads) != rows_OK;
        failures += classifier_set_threads(4 - threads) != classifier_OK;
        failures += posix_memalign(&memory, 64, rows_WORKSPACE_BYTES) != 0;
        failures += rows_run(x, sum, memory) != rows_OK;
        free(memory);
        failures += posix_memalign(&memory, 64, classifier_WORKSPACE_BYTES) != 0;
        failures += classifier_run(in, out, memory) != classifier_OK;
        free(memory);
    }
    printf("%d %d %.4f %d\\n", failures, sum[0], out[0], (int)classifier_threads());
    if (out[479] > 1) printf("not a probability\\n");
    free(x), free(in), free(out);
    return rows_set_threads(1) + classifier_set_threads(1);
}
"""


def two_networks(folder: Path, tmp_path: Path) -> Path:
    source = tmp_path / "two.c"
    source.write_text("#define _POSIX_C_SOURCE 200809L\n" + TWO_NETWORKS)
    return compiled("gcc", source, tmp_path / "two", folder, "classifier", "rows")


def test_two_bundles_live_in_one_program(folder, tmp_path):
    expect_runnable()
    program = two_networks(folder, tmp_path)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    expected = sum(3 * (k % 7) + 1 for k in range(3000))
    assert done.stdout == f"0 {expected} 0.0250 1\n"


@pytest.mark.valgrind
def test_touches_no_memory_but_its_own(folder, tmp_path):
    """Buffers of exactly their size; a workspace that nothing was written to."""
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind")
    program = two_networks(folder, tmp_path)
    done = subprocess.run(
        ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", program],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_takes_from_libc_and_gives_its_functions_only(folder):
    for name in ("classifier", "many", "rows"):
        library = (folder / name / "lib" / f"lib{name}.so").read_bytes()
        symbols = read_symbols(library, "dynamic")
        assert {s.name for s in symbols if s.defined} == {f"{name}_{f}" for f in FUNCTIONS}
        foreign = {s.name for s in symbols if not s.defined}
        assert foreign <= SYSTEM
        assert read_symbols(library) == []
        manifest = json.loads((folder / name / "manifest.json").read_text())
        assert len(library) <= manifest["weight_bytes"] + 300 * 1024


@pytest.mark.parametrize("target", ["rpi4", "armv7-a9"])
def test_an_archive_for_a_board_needs_only_its_c_library(tmp_path, target):
    export_bundle(classifier(), name="net", target=load_target(target), output=tmp_path / "net")
    archive = (tmp_path / "net" / "lib" / "libnet.a").read_bytes()
    symbols = read_symbols(archive[archive.index(b"\x7fELF") :])
    needed = {s.name for s in symbols if not s.defined}
    assert {"pthread_create", "getauxval"} <= needed
    # The last one is a division, of the library that each compiler for ARMv7 has.
    assert needed <= {*SYSTEM, "getauxval", "__aeabi_ldivmod"}
    assert {s.name for s in symbols if s.exported} == {f"net_{f}" for f in FUNCTIONS}


def test_the_archive_hides_what_it_does_not_give(folder):
    archive = (folder / "classifier" / "lib" / "libclassifier.a").read_bytes()
    assert archive.startswith(b"!<arch>\n")
    symbols = read_symbols(archive[archive.index(b"\x7fELF") :])
    assert all(s.name.startswith("classifier_") for s in symbols if s.exported)
    # Compilers' functions of these names are called in another way than TVM's.
    assert not {"__truncsfhf2", "__extendhfsf2"} & {s.name for s in symbols}
    assert b".debug_info" not in archive


def bench(folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    expect_runnable()
    program = folder / name / "bin" / f"{name}_bench"
    return subprocess.run([program, *options], capture_output=True, text=True)


def test_the_bench_program_times_runs_and_layers(folder):
    told = json.loads(bench(folder, "classifier", "--json", "--per-layer", "--repeat", "5").stdout)
    assert len(told["seconds"]) == 5
    assert told["min_s"] <= told["median_s"] <= told["p90_s"]
    assert [layer["name"] for layer in told["layers"]] == ["fused_matmul_relu", "softmax"]
    assert all(layer["median_s"] > 0 for layer in told["layers"])
    shown = bench(folder, "classifier", "--per-layer", "--threads", "2").stdout
    assert "threads: 2" in shown and "softmax" in shown


def test_the_bench_program_reads_and_writes_arrays(folder, tmp_path):
    x = np.random.default_rng(0).standard_normal((1, ROWS, DEPTH), dtype="float32")
    (tmp_path / "x").write_bytes(x.tobytes())
    files = ("--input", str(tmp_path / "x"), "--output", str(tmp_path / "y"))
    assert bench(folder, "classifier", *files, "--repeat", "1", "--warmup", "0").returncode == 0
    y = np.fromfile(tmp_path / "y", "float32").reshape(1, ROWS, -1)
    # As in test_export.
    np.testing.assert_allclose(y, classify(x), rtol=2e-5, atol=1e-7)


def test_the_bench_program_runs_one_sample_after_the_other(folder, tmp_path):
    x = np.random.default_rng(1).standard_normal((3, 1, ROWS, DEPTH), dtype="float32")
    (tmp_path / "x").write_bytes(x.tobytes())
    files = ("--input", str(tmp_path / "x"), "--output", str(tmp_path / "y"))
    told = json.loads(bench(folder, "classifier", *files, "--samples", "3", "--json").stdout)
    assert len(told["seconds"]) == 3
    y = np.fromfile(tmp_path / "y", "float32").reshape(3, ROWS, -1)
    expected = np.concatenate([classify(sample) for sample in x]).reshape(y.shape)
    # As in test_export.
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=1e-7)
    for count in ("2", "4"):
        done = bench(folder, "classifier", *files, "--samples", count)
        assert done.returncode == 1 and "not as large" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--samples", "0"], 2, "number"),
        (["--samples", "2", "--per-layer"], 2, "one sample"),
        (["--fast"], 2, "unknown option"),
        (["--repeat"], 2, "number"),
        (["--repeat", "0"], 2, "number"),
        (["--threads", "1000"], 1, "threads"),
        (["--input", "/nowhere"], 1, "cannot be read"),
        (["--input", "/dev/null"], 1, "not as large"),
        (["--output", "/nowhere/y"], 1, "cannot be written"),
    ],
)
def test_the_bench_program_says_what_is_wrong(folder, options, code, text):
    done = bench(folder, "classifier", *options)
    assert done.returncode == code
    assert text in done.stderr
