"""Which of this machine's cores build candidates, and which measure them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Cores by their numbers in Linux. `measuring`: those of each local device, in order."""

    building: tuple[int, ...]
    measuring: tuple[tuple[int, ...], ...]

    @property
    def shared(self) -> bool:
        """Whether a core that measures also builds: one thing must wait for the other."""
        return any(core in self.building for device in self.measuring for core in device)


def share_cores(
    local_devices: int, usable: Iterable[int] | None = None, *, threads: int = 1
) -> Cores:
    """The usable cores (by default this process' own), shared.

    Each local device gets as many cores as it has threads, which build nothing as long as one is
    left to build; where there are fewer cores, local devices share them with each other and with
    the builders.
    """
    cores = sorted(os.sched_getaffinity(0) if usable is None else usable)
    own = min(threads, len(cores))
    measuring = tuple(
        tuple(cores[-1 - (k * own + n) % len(cores)] for n in range(own))
        for k in range(local_devices)
    )
    taken = {core for device in measuring for core in device}
    building = tuple(core for core in cores if core not in taken)
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
