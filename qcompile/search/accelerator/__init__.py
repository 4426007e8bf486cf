"""Bit widths and a VTA accelerator's design, chosen together under an FPGA's resources."""

from qcompile.search.accelerator.board_file import write_board
from qcompile.search.accelerator.points import CoSearch, Point
from qcompile.search.accelerator.request import Limits
from qcompile.search.accelerator.running import co_search
from qcompile.search.accelerator.space import Space, usual_space

__all__ = ["CoSearch", "Limits", "Point", "Space", "co_search", "usual_space", "write_board"]
