"""A compiler and a bundle that answer without working."""

import json
from dataclasses import dataclass, field

import numpy as np

from qcompile.targets import host_features

SCORES = np.array([[0.0, 1.0], [1.0, 0.0]], "float32")

BENCH = """#!/usr/bin/env python3
import json, sys
options = sys.argv[1:]
repeat = int(options[options.index("--repeat") + 1])
answer = {"seconds": [0.001] * repeat}
if "--per-layer" in options:
    medians = {"Conv_0": 0.0006, "Gemm_0": 0.0003}
    answer["layers"] = [{"name": name, "median_s": s} for name, s in medians.items()]
print(json.dumps(answer))
"""


@dataclass
class Layer:
    name: str
    op: str
    a_bits: int
    w_bits: int
    a_format: str
    w_format: str
    macs: int
    weight_bytes: int
    kernel: str
    integer: bool
    reason: str
    choices: tuple = ()


@dataclass
class FloatOp:
    name: str
    op: str
    reason: str


@dataclass
class Sums:
    name: str
    op: str
    codes: tuple
    lowest: int
    highest: int
    channel: int
    bits: int
    float32_exact: bool


@dataclass
class Analysis:
    accumulators: list = field(
        default_factory=lambda: [Sums("Conv_0", "conv2d", (0, 255), -300, 20, 1, 10, True)]
    )
    vta: dict | None = None
    kernels: dict = field(default_factory=lambda: {"Conv_0": "conv2d_int8"})
    layers: list = field(
        default_factory=lambda: [
            Layer(
                "Conv_0", "Conv", 8, 8, "uint8", "int8", 2_000_000, 2048, "conv2d_int8", True, ""
            ),
            Layer(
                "Gemm_0\x1b[31m",
                "Gemm",
                32,
                32,
                "float32",
                "float32",
                20,
                80,
                "dense_f32",
                False,
                "float",
            ),
        ]
    )
    float_ops: list = field(
        default_factory=lambda: [FloatOp(f"Erf_{k}", "Erf", "no integer form") for k in range(3)]
    )
    inputs: list = field(
        default_factory=lambda: [{"name": "x", "dtype": "float32", "shape": [1, 2]}]
    )
    outputs: list = field(
        default_factory=lambda: [{"name": "y", "dtype": "float32", "shape": [1, 2]}]
    )
    costs_source: str = "measured"


UNTUNED = {
    **dict.fromkeys(("kernels", "tuned", "modelled", "shipped", "unknown_decisions"), 0),
    **{"threads": 1, "other_threads": 0},
    "records": None,
    "skipped": "",
}


def write_bundle(folder, name="net", **changes):
    """A folder that looks like a bundle whose bench takes a millisecond."""
    for part in ("lib", "bin"):
        (folder / part).mkdir(parents=True)
    analysis = Analysis()
    manifest = {
        "format": 1,
        "name": name,
        "target": "host",
        "features": list(host_features())[:3],
        "threads": 1,
        "inputs": analysis.inputs,
        "outputs": analysis.outputs,
        "layers": [{"name": "Conv_0", "kernel": "conv2d_int8", "macs": 2_000_000}],
        "float_ops": [],
        "workspace_bytes": 4096,
        "weight_bytes": 2128,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    layers = [{"name": "Conv_0", "choices": [{"predicted_us": 590.0}]}]
    report = {"layers": layers, "tuning": UNTUNED}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "lib" / f"lib{name}.so").write_bytes(b"x" * 10240)
    (folder / "bin" / f"{name}_bench").write_text(BENCH)
    (folder / "bin" / f"{name}_bench").chmod(0o755)
    return folder
