"""What `quantize` takes."""

import argparse

from qcompile.cli.help_quantize import QUANTIZE
from qcompile.cli.help_texts import SAMPLES
from qcompile.cli.options.common import Commands, add_command, add_shape
from qcompile.cli.values import positive, width
from qcompile.widths import FINE_TUNE_STEPS, MOST_BITS, RANGES, ROUNDINGS


def add_quantize(commands: Commands) -> None:
    does = "quantize a float model after training"
    quantize = add_command(commands, "quantize", does, QUANTIZE + SAMPLES)
    quantize.add_argument("model", metavar="MODEL", help="a float32 ONNX file")
    quantize.add_argument("-o", dest="output", metavar="FILE", required=True, help="what is made")
    quantize.add_argument(
        "--calibration",
        metavar="NPZ",
        help="inputs to fit to; labels are ignored; default: distilled from the statistics of the "
        "model's BatchNormalization nodes",
    )
    quantize.add_argument("--bits", metavar="FILE", help="widths by layer, as JSON")
    for name, what in (("weights", "weights"), ("activations", "layers' inputs")):
        quantize.add_argument(
            f"--{name}", metavar="BITS", type=width, help=f"of {what}, 1 to 8; default: 8"
        )
    quantize.add_argument(
        "--first-last",
        metavar="BITS",
        type=lambda text: None if text == "same" else width(text),
        default=MOST_BITS,
        help="of the first and last layers; `same`: as all others; default: 8",
    )
    quantize.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        default=ROUNDINGS[0],
        help="of weights, after a refit to quantized inputs, or each for itself; default: hessian",
    )
    quantize.add_argument(
        "--ranges", choices=RANGES, default=RANGES[0], help="of activations; default: mse"
    )
    quantize.add_argument(
        "--channels-per-scale",
        metavar="N",
        type=lambda text: None if text == "all" else positive(text),
        default=1,
        help="output channels that share the weights' scale, or `all`; default: 1",
    )
    quantize.add_argument(
        "--equalize",
        action="store_true",
        help="first bring channels between two layers to like ranges; of use where they share one",
    )
    quantize.add_argument(
        "--equal-adds",
        action="store_true",
        help="one scale for both operands of an addition, for hardware that adds codes as they are",
    )
    quantize.add_argument(
        "--fine-tune",
        metavar="STEPS",
        type=positive,
        nargs="?",
        const=FINE_TUNE_STEPS,
        default=0,
        help="then train against the float model on the same inputs; default where no number is "
        f"given: {FINE_TUNE_STEPS}",
    )
    add_shape(quantize)


def expect_quantize(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the process with code 2 where options do not go together."""
    if arguments.bits is None:
        return
    for name in ("weights", "activations"):
        if getattr(arguments, name) is not None:
            parser.error(f"--bits tells all widths; --{name} is for doing without it")
