"""This machine as a target, from what Linux tells about it."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qcompile.errors import UnknownTarget
from qcompile.targets.target import Target
from qcompile.targets.x86 import BASELINE, FEATURES, WIDE

CPUINFO = Path("/proc/cpuinfo")
PROCESSOR_FOLDER = Path("/sys/devices/system/cpu/cpu0")


def host_features(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """LLVM's names of the instruction sets that every core of this machine has; () off x86."""
    lines = re.findall(r"^flags\s*:(.*)$", _text(cpuinfo), flags=re.MULTILINE)
    if not lines:
        return ()
    flags = set.intersection(*(set(line.split()) for line in lines))
    return tuple(name for name, flag in FEATURES.items() if flag in flags)


def detect(
    known: Sequence[Target], cpuinfo: Path = CPUINFO, folder: Path = PROCESSOR_FOLDER
) -> Target:
    """This machine: exactly its features, its own caches, and the nearest target in `known`.

    The nearest target gives LLVM's scheduling model and the facts that Linux does not tell.
    Raises UnknownTarget when the processor is below the x86-64-v3 level.
    """
    features = host_features(cpuinfo)
    if missing := [name for name in BASELINE if name not in features]:
        raise UnknownTarget(f"host: this processor lacks {', '.join(missing)} (x86-64-v3 needed)")
    nearest = max(known, key=lambda target: _likeness(target, features))
    wide = set(WIDE) <= set(features)
    text = _text(cpuinfo)
    return replace(
        nearest,
        name="host",
        cores=len(os.sched_getaffinity(0)),
        vector_bytes=64 if wide else 32,
        vector_registers=32 if wide else 16,
        l1d_bytes=_cache_bytes(folder, level=1) or nearest.l1d_bytes,
        l2_bytes=_cache_bytes(folder, level=2) or nearest.l2_bytes,
        l3_bytes=_cache_bytes(folder, level=3) or nearest.l3_bytes,
        clock_hz=_clock_hz(text, folder) or nearest.clock_hz,
        features=features,
        source=f"detected: {_processor(text)}, scheduled as {nearest.name}",
    )


def _likeness(target: Target, features: Sequence[str]) -> tuple[int, int]:
    """More is nearer: features in common less features lacking, then the fewest lacking."""
    lacking = len(set(target.features) - set(features))
    return len(target.features) - 2 * lacking, -lacking


def _text(path: Path) -> str:
    """What Linux says in that file, or nothing where it has none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def _processor(text: str) -> str:
    family, model = _field(text, "cpu family"), _field(text, "model")
    vendor = _field(text, "vendor_id")
    return f"{_field(text, 'model name')} ({vendor} family {family} model {model})"


def _clock_hz(text: str, folder: Path) -> float | None:
    if kilohertz := _text(folder / "cpufreq" / "cpuinfo_max_freq").strip():
        return float(kilohertz) * 1e3
    megahertz = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", text, flags=re.MULTILINE)
    return max(map(float, megahertz)) * 1e6 if megahertz else None


def _cache_bytes(folder: Path, level: int) -> int | None:
    """The size of the data cache of that level that one core sees."""
    for index in sorted(folder.glob("cache/index*")):
        kind = _text(index / "type").strip()
        if _text(index / "level").strip() == str(level) and kind in ("Data", "Unified"):
            size = re.fullmatch(r"(\d+)K", _text(index / "size").strip())
            return int(size.group(1)) * 1024 if size else None
    return None
