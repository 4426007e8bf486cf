"""The command line: arguments in, tables out, and an exit code.

0 done, 1 user's side, 2 usage, 3 infeasible.
"""

from collections.abc import Sequence

from qcompile.cli.parser import parse
from qcompile.cli.process import run_in_child


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parse(argv)

    def work() -> None:
        # Imported in the child: what a command loads (TVM, NumPy) may crash without harm.
        from qcompile.cli.commands import COMMANDS

        COMMANDS[arguments.command](arguments)

    return run_in_child(work)
