"""This machine as a target, from what Linux tells about it."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qcompile.errors import UnknownTarget
from qcompile.targets.architecture import Architecture
from qcompile.targets.arm import AARCH64, ARMV7
from qcompile.targets.target import Target
from qcompile.targets.x86 import X86_64

CPUINFO = Path("/proc/cpuinfo")
PROCESSOR_FOLDER = Path("/sys/devices/system/cpu/cpu0")


def host_features(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """LLVM's names of the instruction sets that every core of this machine has; () if unknown."""
    found = read_cpuinfo(_text(cpuinfo))
    return found[1] if found else ()


def host_architecture(cpuinfo: Path = CPUINFO) -> Architecture | None:
    """The architecture of this machine; None for one that no target has."""
    found = read_cpuinfo(_text(cpuinfo))
    return found[0] if found else None


def detect(
    known: Sequence[Target], cpuinfo: Path = CPUINFO, folder: Path = PROCESSOR_FOLDER
) -> Target:
    """This machine: exactly its features, its own caches, and the nearest target in `known`.

    The nearest target gives LLVM's scheduling model and the facts that Linux does not tell.
    Raises UnknownTarget when the processor is below the baseline of its architecture, or of one
    that no target has.
    """
    text = _text(cpuinfo)
    found = read_cpuinfo(text)
    if found is None:
        names = ", ".join(sorted({target.architecture.name for target in known}))
        raise UnknownTarget(f"host: {cpuinfo} tells of no processor that targets have ({names})")
    family, features = found
    if missing := [name for name in family.baseline if name not in features]:
        lacks = f"this processor lacks {', '.join(missing)}"
        raise UnknownTarget(f"host: {lacks} ({family.level} needed)")
    relatives = [target for target in known if target.architecture == family]
    nearest = max(relatives, key=lambda target: _likeness(target, features))
    vector_bytes, registers = widest_vectors(family, features)
    return replace(
        nearest,
        name="host",
        cores=len(os.sched_getaffinity(0)),
        vector_bytes=vector_bytes,
        vector_registers=registers,
        l1d_bytes=_cache_bytes(folder, level=1) or nearest.l1d_bytes,
        l2_bytes=_cache_bytes(folder, level=2) or nearest.l2_bytes,
        l3_bytes=_cache_bytes(folder, level=3) or nearest.l3_bytes,
        clock_hz=_clock_hz(text, folder) or nearest.clock_hz,
        features=features,
        source=f"detected: {_processor(text, family)}, scheduled as {nearest.name}",
    )


def widest_vectors(family: Architecture, features: Sequence[str]) -> tuple[int, int]:
    """The (bytes, registers) of the widest vectors that a processor with these features has."""
    return max(form for form, needed in family.vectors.items() if set(needed) <= set(features))


def read_cpuinfo(cpuinfo: str) -> tuple[Architecture, tuple[str, ...]] | None:
    """The architecture and the features that Linux tells of all cores."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, flags=re.MULTILINE)
    if not lines:
        return None
    flags = set.intersection(*(set(line.split()) for line in lines))
    if re.search(r"^flags\s*:", cpuinfo, flags=re.MULTILINE):
        family = X86_64
    else:
        family = AARCH64 if "asimd" in flags else ARMV7
    return family, tuple(name for name, flag in family.features.items() if flag in flags)


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


def _processor(text: str, architecture: Architecture) -> str:
    if architecture != X86_64:
        return f"ARM implementer {_field(text, 'CPU implementer')} part {_field(text, 'CPU part')}"
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
