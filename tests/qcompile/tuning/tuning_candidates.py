"""Candidates for tests: a product of matrices by its real kernel, and kernels in C."""

import itertools
import json
from pathlib import Path

import numpy as np
import tvm

from qcompile.export.toolchain import Toolchain
from qcompile.schedules.dense_int8 import dense_int8, pack_weights, plan_dense
from qcompile.targets import host_architecture, load_target
from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.worker_process import Built
from tests.schedules.kernels import CONSTANTS, compensated, fused_function, requantized

HERE = {"x86_64": "x86-64-v3", "aarch64": "aarch64", "armv7": "armv7"}
VALUES = 1024
NUMBERS = itertools.count()

# Bodies of kernels that take VALUES bytes x and write as many y.
GOOD = "for (int k = 0; k < n; ++k) y[k] = x[k] + 1;"
WRONG = "for (int k = 0; k < n; ++k) y[k] = x[k] + (k == n - 1 ? 2 : 1);"
HALF = "for (int k = 0; k < n - 1; ++k) y[k] = x[k] + 1;"
SLOW = f"for (volatile int turn = 0; turn < 20; ++turn) {{ {GOOD} }}"
ABORTS = "abort();"
SEGMENTATION = "*(volatile int *)8 = x[0] + y[0] + n;"
OVERWRITES = f"((unsigned char *)x)[0] = 9; {GOOD}"
HANGS = "for (volatile int turn = 1; turn;) y[0] = x[n - 1];"
UNLINKABLE = "y[0] = nowhere(x, n);"


def local_target():
    """A target whose code any processor of this machine's kind runs."""
    return load_target(HERE[host_architecture().name])


def dense(target, rows=16, depth=96, columns=40):
    """A product with its requantization, as JSON, and its operands."""
    rng = np.random.default_rng(0)
    plan = plan_dense(rows, depth, columns, target)
    w = rng.integers(-128, 128, (columns, depth), dtype="int8")
    bias = np.zeros(columns, "int32")
    shapes = [
        *((plan.input_shape, "uint8"), (plan.weight_shape, "int8")),
        *(((columns,), "int32"), ((columns,), "float32")),
    ]
    function = fused_function(
        shapes, lambda x, w, b: dense_int8(x, w, b, plan, "layer"), requantized, 3
    )
    x = rng.integers(0, 256, plan.input_shape, dtype="uint8")
    operands = [x, pack_weights(w, plan), compensated(bias, w, plan.offset)]
    operands.append(np.full(columns, 1e-3, "float32"))
    for place, values in json.loads(str(function.attrs[CONSTANTS])):
        operands.insert(place, np.array(values, "float32"))
    return tvm.ir.save_json(function), tuple(operands)


def in_c(body, target, folder: Path, kind="unsigned char"):
    """A candidate of C code."""
    symbol = f"c{next(NUMBERS)}"
    (folder / "kernel.c").write_text(
        f"#include <stdlib.h>\nint nowhere(const {kind} *, int);\n"
        f"int {symbol}_p0(const {kind} *x, {kind} *y, int begin, int n) {{\n"
        f"(void)x; (void)y; (void)begin; (void)n;\n{body}\nreturn 0;\n}}\n"
    )
    tools = Toolchain(target.architecture, folder, print)
    tools.compile_program(
        "kernel.c", "kernel.o", "-Wno-missing-prototypes", "-Wno-infinite-recursion"
    )
    values = np.arange(VALUES) % 100
    operand = values.astype("uint8" if kind == "unsigned char" else "float32")
    built = Built(
        symbol=symbol,
        content=(folder / "kernel.o").read_bytes(),
        prototypes=(f"int {symbol}_p0(void *, void *, int, int);",),
        calls=(f"{symbol}_p0(a[0], a[1], begin, end)",),
        extents=(VALUES,),
        operand_bytes=(operand.nbytes, operand.nbytes),
        dtypes=(str(operand.dtype),) * 2,
    )
    return Candidate(built, (operand,))


def batch_in_c(bodies, target, folder, tolerance=0.0, kind="unsigned char"):
    """A batch of C code; the reference is the first."""
    reference, *candidates = [in_c(body, target, folder, kind) for body in bodies]
    return Batch(reference, tuple(candidates), tolerance)
