"""Which of this machine's cores build candidates, and which measure them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Cores by their numbers in Linux. `measuring`: one for each local device, in order."""

    building: tuple[int, ...]
    measuring: tuple[int, ...]


def share_cores(local_devices: int, usable: Iterable[int] | None = None) -> Cores:
    """The usable cores (by default this process' own), shared.

    Each local device gets a core that builds nothing as long as one is left to build; where
    there are fewer cores, local devices share them with each other and with the builders.
    """
    cores = sorted(os.sched_getaffinity(0) if usable is None else usable)
    measuring = tuple(cores[-1 - k % len(cores)] for k in range(local_devices))
    building = tuple(core for core in cores if core not in measuring)
    return Cores(building or tuple(cores), measuring)


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """This process keeps off the cores that measure."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
