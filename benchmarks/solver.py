"""The exact choice of bit widths: published problems, seconds and optima.

    python benchmarks/solver.py [--data hawqv3_resnet18.json] [--record]

The problem of HAWQ-V3 for ResNet-18 with nine budgets and stated optima, which is skipped where its
file is not here, and a random problem of the size of MobileNetV2 as HAQ poses it.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from results import Report, Table

from qcompile.search import solve

DATA = Path(__file__).parents[2] / "shared" / "data" / "hawqv3_resnet18.json"
LAYERS, WIDTHS = 53, range(2, 9)  # of MobileNetV2; HAQ's widths of weights and inputs
SHARES = (0.8, 0.6, 0.5, 0.4)
COLUMNS = ["problem", "budget", "sensitivity", "stated", "ratio - 1", "ms"]


def published(path: Path) -> Table:
    """The nine budgets of HAWQ-V3."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for name, budget in content["budgets"].items():
        found, milliseconds = _timed(path, budget)
        stated = content["optimum"][name]["sensitivity"]
        same = list(found.bits.values()) == [(b, b) for b in content["optimum"][name]["bits"]]
        told = f"{found.sensitivity / stated - 1:.1e}" + (", same bits" if same else ", other bits")
        rows.append(
            ["ResNet-18", name, f"{found.sensitivity:.9f}", f"{stated:.9f}", told, milliseconds]
        )
    return Table("HAWQ-V3's problem", COLUMNS, rows)


def random_table(pairs: bool) -> dict[str, Any]:
    """A problem with a latency table [layer][w - 1][a - 1], and hand-over costs between layers."""
    rng = np.random.default_rng(0)
    work = rng.lognormal(0, 1, LAYERS)
    steps = np.arange(1, 9)
    latency = work[:, None, None] * (
        1 + np.add.outer(2 * steps, steps) * rng.random((LAYERS, 1, 1))
    )
    error = rng.lognormal(0, 1, (LAYERS, 1, 1)) * np.add.outer(4.0**-steps, 4.0**-steps)
    layers = [
        {"name": f"conv{i}", "choices": [{"w": w, "a": a} for w in WIDTHS for a in WIDTHS]}
        for i in range(LAYERS)
    ]
    inputs = np.array([a for _ in WIDTHS for a in WIDTHS])
    change = (inputs[:, None] != inputs[None, :]).astype(float)
    hand_over = [
        {"layers": [i, i + 1], "latency": (change * work[i]).tolist()} for i in range(LAYERS - 1)
    ]
    return {
        "layers": layers,
        "tables": {"latency": latency.tolist(), "sensitivity": error.tolist()},
        **({"pairs": hand_over} if pairs else {}),
    }


def of_haq_size(pairs: bool) -> Table:
    """Budgets as shares of the latency at 8 bits."""
    problem = random_table(pairs)
    full = float(np.array(problem["tables"]["latency"])[:, -1, -1].sum())
    rows = []
    for share in SHARES:
        found, milliseconds = _timed(problem, {"latency": share * full})
        proved = "proved" if found.optimal else f"bound {found.bound:.6g}"
        rows.append(
            ["random", f"{share:.0%}", f"{found.sensitivity:.9f}", "none", proved, milliseconds]
        )
    title = f"{LAYERS} layers, {len(WIDTHS) ** 2} choices each"
    return Table(title + (", hand-over costs" if pairs else ""), COLUMNS, rows)


def _timed(problem: Path | Mapping[str, Any], budget: Mapping[str, float]) -> tuple[Any, str]:
    begin = time.perf_counter()
    found = solve(problem, budget)
    return found, f"{(time.perf_counter() - begin) * 1e3:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the published problem")
    parser.add_argument("--record", action="store_true", help="also append to RESULTS.md")
    options = parser.parse_args()
    tables = []
    if options.data.is_file():
        tables.append(published(options.data))
    else:
        print(f"skipped: {options.data} is not here", file=sys.stderr)
    report = Report("solver.py", [*tables, of_haq_size(False), of_haq_size(True)])
    print(report)
    if options.record:
        report.append()


if __name__ == "__main__":
    main()
