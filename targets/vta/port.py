"""The memory port, which the LOADs of two modules share.

A LOAD asks for its bursts one after the other and receives them in the order asked for. One that
begins while another runs waits for the bursts that the other has asked for by then; the bursts
that the other asks for later come after its own. Where the 16 requests that the port holds are
all taken, those of INP, WGT and UOP go first and ACC waits to the end (the order of the clients in
the Chisel design's memory engine, and so is their number). The other three constants are fitted to
the shared programs, which they put within 0.5 % of their measured cycles; half or double of any one
does no worse.
"""

from __future__ import annotations

from dataclasses import dataclass

from qcompile.targets.vta.config import Buffer, Config
from qcompile.targets.vta.costs import BURST_BEATS, beats, costs_of, late_pads, row_beats
from qcompile.targets.vta.instructions import Load

REQUESTS = 16  # that the port holds at a time
REQUEST_CYCLES = 4  # between two requests of a LOAD
FIRST_REQUEST = 10  # cycles from the start of a LOAD to its first request
LAST_WORD = 10  # cycles from the last word of a LOAD to its end


@dataclass
class Transfer:
    """A LOAD on the port: when it asks first, when its last word comes, when it is done."""

    asks: int
    last_word: int
    after: int  # cycles from the last word to the end
    beats: int
    burst: int
    yields: bool  # to others, where the port is full of requests

    @property
    def end(self) -> int:
        return self.last_word + self.after


def begin(
    config: Config, one: Load, port_bytes: int, now: int, other: Transfer | None
) -> tuple[Transfer, int]:
    """The new transfer, and how many cycles it waits for the other, which it may delay."""
    costs, count = costs_of(port_bytes), beats(config, one, port_bytes)
    alone = now + costs.load - LAST_WORD + count
    mine = Transfer(
        asks=now + FIRST_REQUEST,
        last_word=alone,
        after=LAST_WORD + late_pads(one, costs),
        beats=count,
        burst=min(BURST_BEATS, row_beats(config, one, port_bytes)),
        yields=one.memory == Buffer.ACC,
    )
    if other is not None and other.last_word > mine.asks:
        received, asked = _progress(other, mine)
        mine.last_word = max(alone, mine.asks + asked - received + count)
        if asked < other.beats:
            other.last_word += count
    return mine, mine.last_word - alone


def _progress(other: Transfer, mine: Transfer) -> tuple[int, int]:
    """Words that the other LOAD has received, and asked for, when this one asks first."""
    received = max(0, other.beats - (other.last_word - mine.asks))
    requests = 1 + max(0, mine.asks - other.asks) // REQUEST_CYCLES
    asked = min(other.beats, requests * other.burst)
    held = received + REQUESTS * other.burst
    if asked > held:
        asked = other.beats if mine.yields else held
    return received, asked
