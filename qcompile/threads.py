"""How many threads a bundle may run on."""

from qcompile.errors import InvalidInput

MOST_THREADS = 256  # MAXIMUM_THREADS of export/runtime/pool.c


def expect_threads(threads: int) -> None:
    """Raise InvalidInput for a number that no bundle's pool has."""
    if not 1 <= threads <= MOST_THREADS:
        raise InvalidInput(f"threads is {threads}; 1 to {MOST_THREADS} work")
