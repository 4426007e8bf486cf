"""The records that ship for a target: of a database, those that decide what kernels become.

    qcompile tune MODEL --target znver4 --records DB [--threads N]     for each network
    python benchmarks/ship_records.py DB znver4

writes targets/records/znver4.jsonl: for each kernel and number of threads for which a tuned form
won, that one's thorough measurement. Compiling reads them all, so there are no others.
"""

import argparse
from pathlib import Path

from qcompile.records import Case, Database
from qcompile.records.choice import best
from qcompile.schedules.space import VERSION
from qcompile.targets import load_processor
from qcompile.targets.records import FOLDER

WITHOUT = (Case.NO_RECORD, Case.OTHER_THREADS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("records", type=Path, help="the database")
    parser.add_argument("target", help="a name of `qcompile targets`")
    options = parser.parse_args()
    target = load_processor(options.target)
    records = Database(options.records, VERSION).load().records
    workloads = sorted({record.workload for record in records})
    counts = sorted({record.threads for record in records})
    choices = [best(records, w, target, threads=n) for n in counts for w in workloads]
    choices = [choice for choice in choices if choice.case not in WITHOUT]
    won = [choice.record for choice in choices if choice.case == Case.TUNED]
    lines = [record.to_line() for record in won if record is not None and record.thorough]
    path = FOLDER / f"{target.name}.jsonl"
    path.write_bytes(b"".join(lines))
    print(f"{path}: {len(lines)} of {len(choices)} kernels have a faster form than the default")


if __name__ == "__main__":
    main()
