"""The table of costs of a target; that of this machine is measured once and kept.

It is kept in $XDG_CACHE_HOME/qcompile/costs (or ~/.cache/qcompile/costs), in a file for each
processor, set of instructions and version of the kernels.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tvm.ir import IRModule

from qcompile import schedules
from qcompile.errors import OutputError, UnknownTarget
from qcompile.files import cache_root, expect_writable, make_folder, write_whole
from qcompile.passes.choose_kernels import has_choice
from qcompile.targets import Target
from qcompile.targets.costs import Costs, costs_of, parse_costs, read_costs

WORKER = (sys.executable, "-P", "-m", "qcompile.measure")
TIME_LIMIT_S = 300


class MeasurementFailed(Exception):
    """The process that measures died, or said why it could not."""


def costs_for(
    target: Target,
    integer_form: IRModule,
    say: Callable[[str], None],
    worker: tuple[str, ...] = WORKER,
) -> Costs:
    """The costs to choose the kernels of a module by.

    This machine is measured when it never was, and some layer has a choice; where that is
    impossible, its costs are those of the nearest named target, and `source` says why.
    """
    if target.name != "host":
        return costs_of(target)
    path = cached(target)
    try:
        return read_costs(path)
    except UnknownTarget:  # there is none, or no whole one
        pass
    if not has_choice(integer_form):
        return costs_of(target)
    try:
        make_folder(path.parent)
        expect_writable(path)
        say("measuring this processor's kernels (once)")
        table = _measured(target, worker)
        costs = parse_costs(table, "what was measured")
        write_whole(path, table)
        return costs
    except (OutputError, MeasurementFailed, UnknownTarget) as error:
        return costs_of(target).because(f"this machine is not measured: {error}")


def cached(target: Target) -> Path:
    """The file of a machine's table."""
    key = [target.source, target.features, metadata.version("qcompile"), kernels_checksum()]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return cache_root() / "costs" / f"{name}.toml"


def kernels_checksum() -> str:
    """A checksum of everything that makes kernels."""
    checksum = hashlib.sha256()
    for folder in schedules.__path__:
        for file in sorted(Path(folder).glob("*.py")):
            checksum.update(file.read_bytes())
    return checksum.hexdigest()


def _measured(target: Target, worker: tuple[str, ...]) -> bytes:
    source = f"measured once on {target.source.removeprefix('detected: ')}"
    try:
        done = subprocess.run([*worker, source], capture_output=True, timeout=TIME_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementFailed(str(error)) from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        raise MeasurementFailed(told[-1][:300] if told else f"exit code {done.returncode}")
    return done.stdout
