"""A bundle on an emulated board: its processor by qemu, its accelerator by a thread."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from vta_board import MEMORY_ADDRESS, MEMORY_BYTES, WINDOW, board
from vta_onnx import residual

import qcompile
from qcompile.export.toolchain import Toolchain
from qcompile.targets import load_target

pytestmark = pytest.mark.emulated
SAMPLES = 3
BOARDS = {"vta-pynq": "qemu-arm", "vta-zcu104": "qemu-aarch64"}

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "residual_vta_linux.h"

static float x[residual_x_LENGTH], y[residual_OUTPUT_LENGTH];

int main(int count, char **files) {
    void *workspace = aligned_alloc(64, (residual_WORKSPACE_BYTES + 63) / 64 * 64);
    struct residual_vta_linux options = residual_vta_defaults();
    options.registers = files[1], options.registers_offset = 0;
    options.memory = files[2], options.memory_offset = 0;
    options.memory_address = MEMORY_ADDRESS, options.memory_bytes = MEMORY_BYTES;
    options.window = WINDOW;
    int32_t status = residual_vta_open(&options);
    FILE *in = fopen(files[3], "rb"), *out = fopen(files[4], "wb");
    while (status == residual_OK && fread(x, sizeof x, 1, in) == 1) {
        status = residual_run(x, y, workspace);
        fwrite(y, sizeof y, 1, out);
    }
    fclose(in), fclose(out), residual_vta_close(), free(workspace);
    fprintf(stderr, "%s\\n", residual_error(status));
    return count != 5 || status != residual_OK;
}
"""


@pytest.mark.parametrize("name", BOARDS)
def test_gives_the_bytes_of_the_simulation(name, tmp_path):
    if shutil.which(BOARDS[name]) is None:
        pytest.skip(f"no {BOARDS[name]}")
    bundle = tmp_path / "bundle"
    qcompile.compile(residual(tmp_path), name, bundle)
    network = qcompile.load(bundle)
    x = np.random.default_rng(7).uniform(-2, 2, (SAMPLES, *network.inputs[0].shape[1:]))
    x.astype("float32").tofile(tmp_path / "x")
    expected = next(iter(network.run_batches({"x": x.astype("float32")}).values()))

    program = build(tmp_path, bundle, name)
    with board(tmp_path) as found:
        files = [found.files["registers"], found.files["memory"], tmp_path / "x", tmp_path / "y"]
        command = [BOARDS[name], program, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == "success\n"
    assert len(found.launches) == SAMPLES * len(network.segments)
    outputs = np.fromfile(tmp_path / "y", "float32").reshape(expected.shape)
    np.testing.assert_array_equal(outputs, expected)
    assert len(np.unique(expected)) > 4


def build(work: Path, bundle: Path, name: str) -> Path:
    """The static program of `PROGRAM`, the driver and the library."""
    output = qcompile.load(bundle).manifest["outputs"][0]["name"]
    tools = Toolchain(load_target(name).host.architecture, work, lambda what: None)
    (work / "program.c").write_text(PROGRAM)
    constants = {"MEMORY_ADDRESS": MEMORY_ADDRESS, "MEMORY_BYTES": MEMORY_BYTES, "WINDOW": WINDOW}
    macros = [f"-D{key}={value}" for key, value in constants.items()]
    macros.append(f"-Dresidual_OUTPUT_LENGTH=residual_{output}_LENGTH")
    includes = [f"-I{bundle / place}" for place in ("include", "vta/driver")]
    tools.compile_program("program.c", "program.o", *includes, *macros)
    driver = bundle / "vta" / "driver" / "residual_vta_linux.c"
    tools.compile_program(str(driver), "driver.o", *includes)
    archive = bundle / "lib" / "libresidual.a"
    tools.link_program(["program.o", "driver.o", str(archive)], "program")
    return work / "program"
