"""Bit widths and a VTA accelerator's design, chosen together under an FPGA's resources.

request.py   what is asked, checked             space.py     the designs that a part can hold
design.py    a design, and what it takes        cover.py     networks that show every layer's widths
networks.py  a network at given widths          problems.py  what its layers ask of VTA
bounds.py    least cycles of a layer            cycles.py    those of the planner's own choice
costs.py     tables of a network on a design    table.py     the best assignments of a table
joint.py     designs and widths together        front.py     what no other point dominates
evaluate.py  simulated time, and top-1          correction.py  estimates, corrected by simulations
trials.py    points tried, each once            spread.py    a few points far from each other
running.py   the whole search                   choosing.py  which point is best
points.py    what it finds
store.py     results of before a kill           board_file.py  a design as `--target FILE.toml`
"""

from qcompile.search.accelerator.board_file import write_board
from qcompile.search.accelerator.points import CoSearch, Point
from qcompile.search.accelerator.request import Limits
from qcompile.search.accelerator.running import co_search
from qcompile.search.accelerator.space import Space, usual_space

__all__ = ["CoSearch", "Limits", "Point", "Space", "co_search", "usual_space", "write_board"]
