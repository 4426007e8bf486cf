"""What `check` and `compile` take."""

import argparse

from qcompile.cli.help_texts import CHECK, COMPILE, SAMPLES
from qcompile.cli.options.common import Commands, add_command, add_scales, add_shapes
from qcompile.cli.values import positive


def add_check(commands: Commands) -> None:
    check = add_command(commands, "check", "tell what will become of a model", CHECK + SAMPLES)
    check.add_argument("model", metavar="MODEL", help="an ONNX file")
    check.add_argument("--target", metavar="T", default="host", help="default: this machine")
    add_shapes(check)
    check.add_argument("--data", metavar="NPZ", help="compare with onnxruntime on these samples")
    check.add_argument(
        "--layers", action="store_true", help="prove every layer's sums; with --data compare each"
    )
    add_scales(check)
    check.add_argument("--json", metavar="FILE", help="write the answer to FILE (-: to the output)")


def add_compile(commands: Commands) -> None:
    compile_ = add_command(commands, "compile", "compile a model to a bundle", COMPILE)
    compile_.add_argument("model", metavar="MODEL", help="an ONNX file")
    compile_.add_argument(
        "--target", metavar="T", required=True, help="a name (see `targets`), `host`, a TOML file"
    )
    compile_.add_argument("-o", dest="output", metavar="DIR", required=True, help="the bundle")
    compile_.add_argument("--name", metavar="N", help="prefix of the C names (default: the file's)")
    add_shapes(compile_)
    compile_.add_argument(
        "--quantized-io",
        action="store_true",
        help="strip the outer quantizers: the application passes integer codes",
    )
    add_scales(compile_)
    compile_.add_argument(
        "--threads",
        metavar="N",
        type=positive,
        default=1,
        help="that it will run on: those of `run` and `bench`, and of the records; default: 1",
    )
    compile_.add_argument(
        "--bits", metavar="FILE", help="quantize a float model to these widths by layer, as JSON"
    )
    compile_.add_argument(
        "--calibration", metavar="NPZ", help="inputs to fit the widths of --bits to"
    )
    compile_.add_argument(
        "--records", metavar="DB", help="a folder of tuning records (*.jsonl) to choose kernels by"
    )
    compile_.add_argument(
        "--variants", metavar="FILE", help="more networks that share the weights, as JSON"
    )
    compile_.add_argument(
        "--dump-ir", metavar="DIR", help="also write the module after each step, as text"
    )


def expect_compile(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the process with code 2 where options do not go together."""
    if (arguments.bits is None) != (arguments.calibration is None):
        parser.error("--bits and --calibration go together: widths are fitted to samples")
