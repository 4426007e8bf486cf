"""What `devices` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcompile.cli.tables import print_facts, print_table, printable

if TYPE_CHECKING:
    from qcompile.commands.devices import DeviceFacts
    from qcompile.devices import DeviceEntry

REACHABLE = {True: "yes", False: "no", None: ""}


def show_devices(entries: Sequence[DeviceEntry]) -> None:
    """One row for each device or kind of device."""
    rows = [(entry.name, REACHABLE[entry.reachable], entry.about) for entry in entries]
    print_table(["device", "reachable", "what it is"], rows)


def show_device(found: DeviceFacts) -> None:
    """One device's processor, and what is wrong with it."""
    processor = found.processor
    heat = processor.temperature_c
    facts = [
        ("device", found.name),
        ("processor", f"{processor.name} ({processor.machine})"),
        ("cores", str(processor.cores)),
        ("features", " ".join(processor.features) or "none that kernels use"),
        ("programs", "" if processor.user_bits is None else f"{processor.user_bits} bits"),
        ("clock governor", ", ".join(processor.governors)),
        ("temperature", "" if heat is None else f"{heat:.0f} C"),
        ("a trial program", "runs" if found.trial is None else "does not run"),
        ("times", "emulated: they say nothing about speed" if found.emulated else ""),
    ]
    print_facts([(name, value) for name, value in facts if value])
    for warning in found.warnings:
        print(f"warning: {printable(warning)}")
