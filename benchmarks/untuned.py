"""How near untuned kernels are to tuned ones, on the shapes of the kernels' reference figures.

    python benchmarks/untuned.py [--trials N] [--only WORD]... [--json] [--record]

Each layer is a task of its own, with the epilogue that it has in a network: int8 layers requantize,
layers of few bits compare with thresholds, the float layer adds a bias and clips at zero. One
search as that of `qcompile tune` spends about N trials on each; its fastest candidates are then
measured once more, longer, in turns with the untuned kernel. Aim: no untuned kernel takes more than
15 % longer than the tuned one. `--cache` keeps the measurements, and another call adds to them.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import tvm
from results import Report, Table, add_options, finish, working_folder
from tuning_spaces import only_task
from tvm import relax

from qcompile.cli.tune_progress import tune_progress
from qcompile.measure.layers import convolution, few_codes, layer_module, product
from qcompile.ops import requantize
from qcompile.passes.kernel_work import LayerShape
from qcompile.passes.layers import Geometry
from qcompile.targets import host_target
from qcompile.tuning.result import TaskState
from qcompile.tuning.tasks import Task
from qcompile.tuning.tune import tune_tasks
from qcompile.tvm_errors import register_errors

AIM = 1.15
TRIALS = 32
INT8 = (8, 8)
# (size of the image, inputs, outputs, stride) of the 3x3 convolutions of ResNet-18
CONVOLUTIONS = [
    *((56, 64, 64, 1), (28, 128, 128, 1), (14, 256, 256, 1), (7, 512, 512, 1)),
    *((56, 64, 128, 2), (28, 128, 256, 2), (14, 256, 512, 2)),
]
# (rows, outputs, depth)
PRODUCTS = [(128, 768, 768), (128, 3072, 768), (128, 768, 3072), (1, 512, 1000), (1, 1008, 512)]
# The 1x1 convolutions of MobileNetV2.
POINTWISE = [
    *((3136, 144, 24), (784, 192, 32), (12544, 96, 16), (12544, 16, 32), (3136, 24, 144)),
    *((196, 384, 64), (196, 96, 384), (196, 576, 96), (49, 160, 960), (49, 960, 160)),
    *((49, 320, 960), (49, 1280, 320)),
]
BIT_PRODUCTS = [
    *((3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608)),
    *((128, 768, 768), (128, 3072, 768)),
]
BITS = {"W1A1": (1, 1), "W1A2": (2, 1), "W2A2": (2, 2)}  # of data and of weights
DEPTHWISE = [(56, 144), (14, 384), (112, 96)]  # size of the image, channels
FLOAT_CONVOLUTION = (56, 64)  # size of the image, channels
SCALE = 2.0**-10  # of sums of products of codes, to codes


def modules() -> dict[str, tvm.IRModule]:
    """The layers by their names."""
    made: dict[str, tvm.IRModule] = {}
    for size, inputs, outputs, stride in CONVOLUTIONS:
        layer = convolution(size, inputs, outputs, INT8, stride=stride)
        name = f"int8 3x3, {size}x{size}, {inputs} to {outputs}, stride {stride}"
        made[name] = layer_module(layer, "int8", requantized)
    for rows, outputs, depth in [*PRODUCTS, *POINTWISE]:
        layer = product(rows, depth, outputs, INT8)
        made[f"int8 {rows}x{outputs}x{depth}"] = layer_module(layer, "int8", requantized)
    for size, channels in DEPTHWISE:
        layer = depthwise(size, channels)
        name = f"int8 depthwise 3x3, {size}x{size}x{channels}"
        made[name] = layer_module(layer, "int8", requantized)
    for width, bits in BITS.items():
        for rows, outputs, depth in BIT_PRODUCTS:
            layer = product(rows, depth, outputs, bits)
            made[f"{width} {rows}x{outputs}x{depth}"] = layer_module(layer, "bits", few_codes)
    size, channels = FLOAT_CONVOLUTION
    made[f"fp32 3x3, {size}x{size}, {channels} to {channels}"] = float_module(size, channels)
    return made


def depthwise(size: int, channels: int) -> LayerShape:
    geometry = Geometry((1, 1, 1, 1), (1, 1), (1, 1), channels)
    return LayerShape((1, size, size, channels), (channels, 3, 3, 1), geometry, *INT8)


def requantized(sums: relax.Expr, outputs: int) -> relax.Expr:
    """sums -> codes of 8 bits, with a scale for each output."""
    scale = relax.const(np.full(outputs, SCALE, "float32"))
    return requantize(
        sums, scale, None, input_zero=0, zero_point=0, low=0, high=255, dtype="uint8"
    )  # fmt: skip


def float_module(size: int, channels: int) -> tvm.IRModule:
    """x -> convolution, bias, clipping at zero."""
    builder, rng = relax.BlockBuilder(), np.random.default_rng(0)
    x = relax.Var("x", relax.TensorType((1, size, size, channels), "float32"))
    w = relax.const(rng.standard_normal((channels, channels, 3, 3), dtype="float32"))
    bias = relax.const(rng.standard_normal(channels, dtype="float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            sums = builder.emit(
                relax.op.nn.conv2d(x, w, padding=1, data_layout="NHWC", out_layout="NHWC")
            )
            moved = builder.emit(relax.op.add(sums, bias))
            result = builder.emit_output(relax.op.nn.relu(moved))
        builder.emit_func_output(result)
    return builder.get()


def table(tasks: Sequence[Task], states: Sequence[TaskState]) -> tuple[Table, str]:
    rows, ratios = [], {}
    for task, state in zip(tasks, states, strict=True):
        assert state.default_s is not None and state.best_s is not None
        ratios[state.name] = ratio = state.default_s / state.best_s
        seconds = [f"{s * 1e6:.1f}" for s in (state.default_s, state.best_s)]
        chosen = "untuned" if state.best is None else decided(task, state.best)
        rows.append([state.name, *seconds, f"{ratio:.2f}", state.trials, state.candidates, chosen])
    worst = max(ratios, key=lambda name: ratios[name])
    met = sum(ratio <= AIM for ratio in ratios.values())
    remark = (
        f"Untuned kernels take up to {ratios[worst]:.2f} times as long as tuned ones ({worst}); "
        f"{met} of {len(rows)} at most {AIM} times (aim: all)."
    )
    columns = ["layer (MxNxK)", "untuned us", "tuned us", "untuned / tuned"]
    columns += ["trials", "candidates", "decisions of the tuned kernel that differ"]
    return Table("Untuned and tuned kernels, one thread", columns, rows), remark


def decided(task: Task, best: Mapping[str, object]) -> str:
    """The decisions that are not the default ones, and what these would be."""
    default = {name: _plain(value) for name, value in task.default.items()}
    parts = [
        f"{name}: {_plain(value)}, not {default[name]}"
        for name, value in best.items()
        if _plain(value) != default[name]
    ]
    return "; ".join(parts)


def _plain(value: object) -> str:
    """Tuples and lists alike; instructions without the project's name."""
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_plain, value))})"
    return str(value).removeprefix("qcompile.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each layer, on average")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="layers with this in their names")
    add_options(parser)
    options = parser.parse_args()
    register_errors()
    target = host_target()
    tasks = [
        only_task(name, module, target)
        for name, module in modules().items()
        if options.only is None or any(word in name for word in options.only)
    ]
    trials = options.trials * len(tasks)
    with working_folder(options.cache) as folder, tune_progress() as watcher:
        records = folder / "untuned"
        found = tune_tasks(tasks, target, records, trials=trials, evenly=True, watcher=watcher)
    rows, remark = table(tasks, found.tasks)
    finish(Report("untuned", [rows], [remark]), options)


if __name__ == "__main__":
    main()
