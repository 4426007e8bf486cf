"""The user's training of quantized networks: a command or a function, for each assignment."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qcompile.errors import FineTuningFailed
from qcompile.search.loop.front import front
from qcompile.search.loop.ledger import Ledger
from qcompile.search.loop.points import Point, bits_to_json
from qcompile.search.loop.rounds import measured_on
from qcompile.search.loop.station import Station

# From the content of a bits.json and the path to write to, to the path of a quantized model.
FineTune = Callable[[Mapping[str, Any], Path], Path]
SHOWN = 500  # characters of what a command said


def tune_front(
    ledger: Ledger, stations: Sequence[Station], fine_tune: FineTune, say: Callable[[str], None]
) -> None:
    """Train every assignment on a front further, and measure what comes of it."""
    for station in stations:
        for point in front(ledger.points(), station.where.name):
            if point.bits is None or point.kind == "fine-tuned":
                continue
            say(f"fine-tuning {point.name}")
            tuned = _tuned(ledger, point, fine_tune)
            if station.where.name not in tuned.on:
                found = measured_on(station, ledger, tuned)
                ledger.put(tuned.name, station.where.name, found)


def _tuned(ledger: Ledger, point: Point, fine_tune: FineTune) -> Point:
    assert point.bits is not None
    name, bits = f"{point.name}-tuned", {"layers": bits_to_json(point.bits)}
    ledger.workshop.own_model(name, lambda path: _trained(fine_tune, bits, path, point.name))
    return ledger.add_tuned(point, name)


def _trained(fine_tune: FineTune, bits: Mapping[str, Any], path: Path, name: str) -> Path:
    made = Path(fine_tune(bits, path))
    if not made.is_file():
        raise FineTuningFailed(f"fine-tuning {name}: there is no file {made}")
    return made


def command(text: str) -> FineTune:
    """The command as a function; it is given a file of bits and the path to write to."""

    def run(bits: Mapping[str, Any], path: Path) -> Path:
        with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
            file = Path(folder) / "bits.json"
            file.write_text(json.dumps(bits, indent=2))
            words = [*shlex.split(text), str(file), str(path)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, errors="replace")
            except OSError as error:
                raise FineTuningFailed(f"{words[0]}: cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            told = done.stderr.strip()[-SHOWN:]
            raise FineTuningFailed(f"{text}: ended with code {done.returncode}: {told}")
        return path

    return run
