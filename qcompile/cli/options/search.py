"""What `search` takes."""

import argparse

from qcompile.cli.help_search import SEARCH
from qcompile.cli.help_texts import SAMPLES
from qcompile.cli.options.common import Commands, add_command
from qcompile.cli.values import amount, seed, widths


def add_search(commands: Commands) -> None:
    does = "choose bit widths by what they take on devices"
    search = add_command(commands, "search", does, SEARCH + SAMPLES)
    search.add_argument("model", metavar="MODEL", help="a float32 ONNX file")
    search.add_argument(
        "--on",
        metavar="TARGET[=DEVICE]",
        action="append",
        required=True,
        help="a target, and the device that measures it (default: here for host, sim for VTA, "
        "model:TARGET for others); may be repeated",
    )
    search.add_argument("--data", metavar="NPZ", required=True, help="labelled samples")
    search.add_argument(
        "--calibration",
        metavar="NPZ",
        help="inputs to quantize by; default: some of --data, without their labels",
    )
    search.add_argument("-o", dest="output", metavar="DIR", required=True, help="what is found")
    search.add_argument("--records", metavar="DB", help="a folder of records of `tune`")
    search.add_argument(
        "--bits", metavar="B,B,...", type=widths, default=(8, 4, 2), help="default: 8,4,2"
    )
    search.add_argument("--budget-ms", metavar="X", type=amount, help="of one inference")
    search.add_argument("--budget-kib", metavar="X", type=amount, help="of all weights, packed")
    search.add_argument(
        "--max-drop",
        metavar="P",
        type=amount,
        help="of accuracy against float32, in points; default: 1, or any where --budget-ms or "
        "--budget-kib is given",
    )
    search.add_argument(
        "--fine-tune",
        metavar="COMMAND",
        help="run on each assignment of the front as COMMAND BITS_JSON OUTPUT_ONNX: trains it "
        "further and writes a quantized model",
    )
    search.add_argument(
        "--accelerator",
        action="store_true",
        help="also choose VTA's configuration, within what the FPGA of the board in --on holds",
    )
    search.add_argument("--plots", action="store_true", help="draw into DIR; needs matplotlib")
    search.add_argument("--seed", metavar="S", type=seed, default=0, help="of what is random")


def expect_search(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the process with code 2 where options do not go together."""
    if not arguments.accelerator:
        return
    for name in ("records", "budget_kib", "fine_tune", "plots"):
        if getattr(arguments, name):
            parser.error(f"--{name.replace('_', '-')} and --accelerator do not go together")
    if len(arguments.on) > 1:
        parser.error("--accelerator is for one board: give --on once")
