"""Options that several commands take."""

import argparse
from typing import TypeAlias

from qcompile.cli.values import positive, shape
from qcompile.scales import SCALES

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
FORMATTER = argparse.RawDescriptionHelpFormatter


def add_command(
    commands: Commands,
    name: str,
    does: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=epilog,
        formatter_class=FORMATTER,
        allow_abbrev=False,
    )


def add_scales(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scales",
        choices=SCALES,
        help="of codes: the model's own (the default), or powers of two, which hardware without "
        "multipliers shifts by (the default for VTA, whose sums the processor else multiplies); "
        "-4: layers with weights of up to 4 bits keep to 4, for a VTA of such weights; shift-add: "
        "sums of up to three powers of two, the weights as they are; slower and less precise",
    )


def add_shapes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch", metavar="B", type=positive, help="the batch size where the model leaves it open"
    )
    add_shape(command)


def add_shape(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--shape",
        metavar="NAME:1x3x224x224",
        type=shape,
        action="append",
        default=[],
        help="an input's shape where the model leaves it open; may be repeated",
    )


def add_variant(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--variant", metavar="V", help="the network, of a bundle of several (default: the first)"
    )


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device", metavar="D", default="local", help="where (see `devices`); default: here"
    )
