"""What `run` and `bench` take."""

import argparse

from qcompile.cli.help_texts import BENCH, RUN, SAMPLES
from qcompile.cli.options.common import Commands, add_command, add_device, add_variant
from qcompile.cli.values import peers, positive


def add_run(commands: Commands) -> None:
    run = add_command(commands, "run", "run a bundle on samples", RUN + SAMPLES)
    run.add_argument("bundle", metavar="DIR", help="a bundle made by `compile`")
    run.add_argument("--inputs", metavar="NPZ", required=True, help="the samples, .npz or .npy")
    run.add_argument("--outputs", metavar="NPZ", help="write the outputs, by name")
    add_device(run)
    add_variant(run)
    run.add_argument(
        "--dump-vta",
        metavar="OUT",
        help="with --device sim: write each segment's program and memory on the first sample",
    )
    run.add_argument("--threads", metavar="N", type=positive, help="default: the bundle's")


def add_bench(commands: Commands) -> None:
    bench = add_command(
        commands, "bench", "measure a bundle's latency, alone or against others", BENCH
    )
    bench.add_argument("bundle", metavar="DIR", help="a bundle made by `compile`")
    add_device(bench)
    add_variant(bench)
    bench.add_argument("--threads", metavar="N", type=positive, help="default: the bundle's")
    bench.add_argument("--repeat", metavar="N", type=positive, help="inferences of each framework")
    bench.add_argument("--per-layer", action="store_true", help="also the time of every layer")
    bench.add_argument(
        "--plots",
        action="store_true",
        help="draw latency.png (and layers.png, or VTA's queues) here; needs matplotlib",
    )
    bench.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")
    bench.add_argument(
        "--against",
        metavar="PEERS",
        type=peers,
        default={},
        help="onnxruntime, openvino, litert=FILE.tflite, separated by commas",
    )
    bench.add_argument("--model", metavar="MODEL", help="the ONNX file that the peers run")


def expect_bench(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the process with code 2 where options do not go together."""
    if arguments.model is None and {"onnxruntime", "openvino"} & set(arguments.against):
        parser.error("--against onnxruntime or openvino needs --model MODEL")
    if arguments.model is not None and not arguments.against:
        parser.error("--model is for --against, which is missing")
