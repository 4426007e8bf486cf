"""The designs to choose from: values for each field, and those of them that a part can hold.

As JSON, every key with a list of values; a key that is missing has the board's own value:

    {"LOG_BLOCK": [3, 4, 5], "LOG_INP_WIDTH": [2, 3], ..., "PORT_BYTES": [8, 16],
     "SCALES": ["power-of-two", "power-of-two-4"]}

The other keys are those of a VTA configuration (targets/vta/config.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from qcompile.errors import DoesNotFit, InvalidInput, Unsupported
from qcompile.scales import EXACT, POWER_OF_TWO, POWER_OF_TWO_4, SCALES, WEIGHT_BITS
from qcompile.search.accelerator.design import Design, area_of
from qcompile.targets import VtaTarget
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.encodable import broken_rules
from qcompile.targets.vta.resources import Device
from qcompile.targets.vta.target import PORTS

PORT, SCALING = "PORT_BYTES", "SCALES"
CONFIG = tuple(key for key in Config.__annotations__ if key.startswith("log_"))
KEYS = (*(key.upper() for key in CONFIG), PORT, SCALING)

# Of a part: DSP slices and block RAMs lie in columns, and all but a few can be used; where more
# LUTs than this are taken, tools hardly find ways for the wires.
SHARES = {"dsp": 1.0, "lut": 0.7, "bram18": 0.9}


@dataclass(frozen=True)
class Space:
    """Values by key; every key of KEYS has some."""

    values: Mapping[str, tuple[int | str, ...]]

    @staticmethod
    def from_json(mapping: Mapping[str, Any], board: VtaTarget) -> "Space":
        """The space of a JSON object. Raises InvalidInput."""
        if unknown := sorted(set(mapping) - set(KEYS)):
            raise InvalidInput(f"space: {', '.join(unknown)} is no key; keys are {', '.join(KEYS)}")
        own = own_values(board)
        found = {key: _values(key, mapping.get(key, [own[key]])) for key in KEYS}
        return Space(found)

    def to_json(self) -> dict[str, list[int | str]]:
        return {key: list(values) for key, values in self.values.items()}

    def designs(self, board: VtaTarget) -> Iterator[Design]:
        """Every combination, whether it can be built or not."""
        identity = {"TARGET": board.config.target, "HW_VER": board.config.hw_ver}
        for values in product(*(self.values[key] for key in KEYS)):
            found: dict[str, Any] = dict(zip(KEYS, values, strict=True))
            port, scales = found.pop(PORT), found.pop(SCALING)
            yield Design(Config.from_json({**identity, **found}), port, scales)


@dataclass(frozen=True)
class Buildable:
    """The designs that can be encoded and fit; `refused`: how many of the others, by reason."""

    designs: tuple[Design, ...]
    refused: Mapping[str, int]


def own_design(board: VtaTarget) -> Design:
    """The board as it is."""
    return Design(board.config, board.port_bytes, POWER_OF_TWO)


def own_values(board: VtaTarget) -> dict[str, int | str]:
    """The board's own design, by key."""
    config = {key.upper(): getattr(board.config, key) for key in CONFIG}
    return {**config, PORT: board.port_bytes, SCALING: POWER_OF_TWO}


def usual_space(board: VtaTarget) -> Space:
    """Blocks, widths and buffers around the board's own: a few hundred designs.

    The port and the batch are the board's. A wider port the processor has not, and a narrower one
    saves nothing to speak of; larger batches gain throughput at the price of latency. Of INP and
    WGT, widths that codes have; sums of 32 bits.
    """
    mapping = {
        "LOG_BLOCK": [3, 4, 5],
        "LOG_INP_WIDTH": [1, 2, 3],
        "LOG_WGT_WIDTH": [1, 2, 3],
        "LOG_INP_BUFF_SIZE": [13, 14, 15],
        "LOG_WGT_BUFF_SIZE": [15, 17, 18],
        "LOG_ACC_BUFF_SIZE": [15, 16, 17],
        SCALING: [POWER_OF_TWO, POWER_OF_TWO_4],
    }
    return Space.from_json(mapping, board)


def buildable(
    space: Space, board: VtaTarget, part: Device, shares: Mapping[str, float] = SHARES
) -> Buildable:
    """The designs of the space that the part can hold. Raises DoesNotFit where there is none."""
    found, refused = list[Design](), Counter[str]()
    for design in space.designs(board):
        if design.scales in unsuited(design.config.wgt_width, space.values[SCALING]):
            refused["scales for another width of weights"] += 1
        elif next(broken_rules(design.config), None) is not None:
            refused["not encodable"] += 1
        elif lacking := lacking_of(design, part, shares):
            refused[f"too little {lacking[0]}"] += 1
        else:
            found.append(design)
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.items())
        raise DoesNotFit(f"no design of the space can be built on {part.name}: {reasons}")
    return Buildable(tuple(found), dict(refused))


def unsuited(wgt_width: int, scales: Sequence[int | str]) -> Sequence[str]:
    """Of powers of two for weights of 8 and of 4 bits, where there is a choice, the other ones.

    Weights of 8 bits are one digit only where WGT has 8; those of 4 are less precise.
    """
    if not {POWER_OF_TWO, POWER_OF_TWO_4} <= set(scales):
        return ()
    return (POWER_OF_TWO_4,) if wgt_width >= WEIGHT_BITS[POWER_OF_TWO] else (POWER_OF_TWO,)


def lacking_of(design: Design, part: Device, shares: Mapping[str, float]) -> Sequence[str]:
    """The resources of which the design takes more than its share of the part."""
    taken = area_of(design, part).shares
    return [name for name, share in taken.items() if share > shares[name]]


def _values(key: str, values: Any) -> tuple[int | str, ...]:
    """The values of one key, in their order, none twice."""
    if not isinstance(values, list | tuple) or not values:
        raise InvalidInput(f"space: {key} is {values!r}; a list of values works")
    for value in values:
        if key == SCALING and (value not in SCALES or value == EXACT):
            # VTA cannot scale exactly: its sums would leave the chip after every layer.
            known = ", ".join(scales for scales in SCALES if scales != EXACT)
            raise InvalidInput(f"space: {key} has {value!r}; of {known} works")
        if key != SCALING and (type(value) is not int or value < 0):
            raise InvalidInput(f"space: {key} has {value!r}; whole numbers from 0 work")
        if key == PORT and value not in PORTS:
            raise InvalidInput(f"space: {key} has {value!r}; of {', '.join(map(str, PORTS))} works")
    return tuple(dict.fromkeys(values))


def expect_known(part: str, known: Mapping[str, Device]) -> Device:
    """The facts of a part. Raises Unsupported where there are none."""
    if part not in known:
        raise Unsupported(
            f"part {part!r}: its resources are not known; known are {', '.join(sorted(known))}"
        )
    return known[part]
