"""`python -m qcompile` is `qcompile`."""

import sys

from qcompile.cli import main

if __name__ == "__main__":
    sys.exit(main())
