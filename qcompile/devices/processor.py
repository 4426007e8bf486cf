"""A device's processor as its Linux tells of it."""

import re
from dataclasses import dataclass

from qcompile.targets.host import read_cpuinfo

# One line of the POSIX shell, for the smallest of systems. The fifth byte of an ELF file is 1 for
# 32 bits and 2 for 64.
FACTS = (
    "echo machine $(uname -m); "
    "echo class $(head -c 5 /proc/$$/exe | tail -c 1 | tr '\\1\\2' '12'); "
    "for f in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; "
    "do [ -r $f ] && echo governor $(cat $f); done; "
    "for z in /sys/class/thermal/thermal_zone*; "
    "do [ -r $z/temp ] && echo temperature $(cat $z/temp 2>/dev/null); done; "
    "for c in /sys/class/thermal/cooling_device*; "
    "do [ -r $c/cur_state ] && echo cooling $(cat $c/cur_state 2>/dev/null) $(cat $c/type); done; "
    "for t in /sys/devices/platform/soc/soc:firmware/get_throttled; "
    "do [ -r $t ] && echo throttled $(cat $t); done; "
    "echo cpuinfo; cat /proc/cpuinfo"
)

ARCHITECTURES = {
    **{"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"},
    **{"armv7l": "armv7", "armv8l": "armv7"},
}

# Names of the cores that ARM designed, by MIDR's part number. Source: Linux,
# arch/arm64/include/asm/cputype.h; arch/arm/include/asm/cputype.h.
ARM_PARTS = {
    **{0xC05: "Cortex-A5", 0xC07: "Cortex-A7", 0xC08: "Cortex-A8", 0xC09: "Cortex-A9"},
    **{0xC0D: "Cortex-A12", 0xC0E: "Cortex-A17", 0xC0F: "Cortex-A15"},
    **{0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57"},
    **{0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76"},
    **{0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78"},
    **{0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD48: "Cortex-X2"},
    **{0xD49: "Neoverse-N2", 0xD4D: "Cortex-A715", 0xD4F: "Neoverse-V2"},
}
ARM_LIMITED = 0x41  # MIDR's implementer
WIDE_PART = 0xD00  # from here on the parts are 64-bit processors

# Bits of the Raspberry Pi firmware's get_throttled that tell of now. Source: Raspberry Pi
# documentation, vcgencmd.
FIRMWARE_LIMITS = {
    **{0: "the voltage is too low", 1: "the clock is capped"},
    **{2: "it is throttled", 3: "the soft temperature limit is reached"},
}


@dataclass(frozen=True)
class Processor:
    """What a system tells of its processor. `features` are LLVM's names, as targets have them."""

    machine: str  # as `uname -m` says it
    name: str
    cores: int
    features: tuple[str, ...]
    user_bits: int | None  # of the system's programs
    wide: bool  # whether the processor, not its system, is a 64-bit one
    governors: tuple[str, ...]  # the different ones of its cores
    temperature_c: float | None  # the hottest
    limits: tuple[str, ...]  # what slows it down now

    @property
    def architecture(self) -> str:
        """x86_64, aarch64, armv7, or the machine's own name where it is none of them."""
        return ARCHITECTURES.get(self.machine, self.machine)


def read_processor(told: str) -> Processor:
    """The processor that the answer to FACTS describes."""
    head, _, cpuinfo = told.partition("cpuinfo\n")
    facts: dict[str, list[str]] = {}
    for line in head.splitlines():
        key, _, value = line.partition(" ")
        facts.setdefault(key, []).append(value.strip())
    machine = (facts.get("machine") or ["unknown"])[0]
    temperatures = [int(t) for t in facts.get("temperature", []) if re.fullmatch(r"-?\d+", t)]
    name, wide = _name(cpuinfo)
    return Processor(
        machine=machine,
        name=name,
        cores=max(1, len(re.findall(r"^processor\s*:", cpuinfo, flags=re.MULTILINE))),
        features=known[1] if (known := read_cpuinfo(cpuinfo)) else (),
        user_bits={"1": 32, "2": 64}.get((facts.get("class") or [""])[0]),
        wide=wide or "64" in machine,
        governors=tuple(sorted(set(facts.get("governor", [])))),
        temperature_c=max(temperatures) / 1e3 if temperatures else None,
        limits=(*_cooling(facts.get("cooling", [])), *_firmware(facts.get("throttled", []))),
    )


def _name(cpuinfo: str) -> tuple[str, bool]:
    """What the processor is called, and whether its part number is of a 64-bit one."""
    if found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo, flags=re.MULTILINE):
        model = found.group(1).strip()
    else:
        model = "unknown"
    implementers = re.findall(r"^CPU implementer\s*:\s*(\w+)$", cpuinfo, flags=re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*(\w+)$", cpuinfo, flags=re.MULTILINE)
    cores = {
        int(part, 16)
        for implementer, part in zip(implementers, parts, strict=False)
        if int(implementer, 16) == ARM_LIMITED
    }
    names = [ARM_PARTS.get(part, f"ARM part 0x{part:x}") for part in sorted(cores)]
    return " + ".join(names) or model, any(part >= WIDE_PART for part in cores)


def _cooling(devices: list[str]) -> list[str]:
    """What is slowed down against heat: entries are a state and the kind of the cooling device."""
    active = [
        kind
        for state, _, kind in (device.partition(" ") for device in devices)
        if ("cpufreq" in kind or kind == "Processor") and state.isdigit() and int(state) > 0
    ]
    return [f"the clock is held down against heat ({', '.join(active)})"] if active else []


def _firmware(values: list[str]) -> list[str]:
    try:
        bits = int(values[0], 16) if values else 0
    except ValueError:
        return []
    return [f"firmware: {text}" for bit, text in FIRMWARE_LIMITS.items() if bits >> bit & 1]
