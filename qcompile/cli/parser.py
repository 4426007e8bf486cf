"""Which commands there are and what they take. `--help` shows an example of each."""

import argparse
from collections.abc import Sequence

from qcompile import __version__
from qcompile.cli.help_texts import DEMO, DEVICES, EPILOG, OVERVIEW, TARGETS
from qcompile.cli.options.bundles import add_bench, add_run, expect_bench
from qcompile.cli.options.common import FORMATTER, add_command
from qcompile.cli.options.models import add_check, add_compile, expect_compile
from qcompile.cli.options.quantize import add_quantize, expect_quantize
from qcompile.cli.options.search import add_search, expect_search
from qcompile.cli.options.tune import add_tune

EXPECTATIONS = {
    "bench": expect_bench,
    "compile": expect_compile,
    "quantize": expect_quantize,
    "search": expect_search,
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; ends the process with code 2 and a hint when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="qcompile", description=OVERVIEW, epilog=EPILOG, formatter_class=FORMATTER
    )
    parser.add_argument("--version", action="version", version=f"qcompile {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_check(commands)
    add_compile(commands)
    add_run(commands)
    add_bench(commands)
    add_tune(commands)
    add_quantize(commands)
    add_search(commands)
    targets = add_command(commands, "targets", "list targets, or show one", TARGETS)
    targets.add_argument("target", nargs="?", metavar="T", help="a name, `host`, or a TOML file")
    devices = add_command(
        commands, "devices", "list devices, or show one and what ails it", DEVICES
    )
    forms = "local, sim, qemu[:CPU], ssh://user@host[:port], adb:SERIAL, rpc://tracker:port/key"
    devices.add_argument("device", nargs="?", metavar="D", help=forms)
    demo = add_command(
        commands, "demo", "compile bundled networks and run them on bundled images", DEMO
    )
    demo.add_argument("-o", dest="output", metavar="DIR", help="keep everything in DIR")
    arguments = parser.parse_args(argv)
    if arguments.command in EXPECTATIONS:
        EXPECTATIONS[arguments.command](parser, arguments)
    names = [name for name, _ in getattr(arguments, "shape", [])]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        parser.error(f"--shape gives {', '.join(twice)} twice")
    return arguments
