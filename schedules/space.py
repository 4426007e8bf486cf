"""What may be decided about a kernel: every decision with its choices, the default first.

A kernel's *problem* is what it computes (logical shapes, strides, widths); its *decisions* are how.
A plan is made from both: its schedule has no other freedom, and computes the same whatever is
decided. Values are JSON's: booleans, integers, text, and tuples of these, which JSON has as lists.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from qcompile.errors import InvalidInput

# Of what decisions mean, and of the default ones, which candidates are compared with. Records of
# other versions do not count.
VERSION = 2
MOST_UNROLLED = 4  # steps of a reduction: more only make the code longer
SHOWN = 8  # choices in a message
MISJUDGED = 1.5  # about how much longer it takes to share what is too small, or the reverse
PROBLEM = "qcompile.problem"  # annotation of the block that a schedule begins with
OPTIONS = "qcompile.options"  # the same: keywords of the computation, in JSON, whatever is decided
ORDERS = ("data", "weights")  # what stays in cache while all of the other passes by
CHUNKS = ("none", "outer", "tiles")  # what threads share: the outer loops, or the tiles inside, too

Value = bool | int | str | tuple[Any, ...]
Decisions = Mapping[str, Value]
DEFAULT: Decisions = {}


class UnknownDecision(InvalidInput):
    """A decision that the kernel does not have, or a value that is none of its choices."""


@dataclass(frozen=True)
class Decision:
    """A name and what it may be.

    `for_threads`: it makes no difference to one thread. `costs`: about how long the kernel takes
    with each choice, in any unit; none where nothing is known of that.
    """

    name: str
    choices: tuple[Value, ...]
    for_threads: bool = False
    costs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Space:
    """The decisions of one kernel for one problem and target."""

    decisions: tuple[Decision, ...]

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return prod(len(decision.choices) for decision in self.decisions)

    def for_threads(self, threads: int) -> "Space":
        """The decisions that make a difference to so many threads: to one, not all do."""
        return Space(tuple(d for d in self.decisions if threads > 1 or not d.for_threads))

    def has(self, decisions: Decisions) -> bool:
        """Whether these are all decisions of the space, and choices that it has."""
        known = {decision.name: decision.choices for decision in self.decisions}
        return known.keys() == decisions.keys() and all(
            frozen(value) in known[name] for name, value in decisions.items()
        )

    def chosen(self, decisions: Decisions) -> dict[str, Value]:
        """All decisions: those given, the others by default. Raises UnknownDecision."""
        known = {decision.name: decision.choices for decision in self.decisions}
        for name, value in decisions.items():
            if name not in known:
                raise UnknownDecision(f"decision {name!r}: known are {', '.join(known)}")
            if frozen(value) not in known[name]:
                more = ["…"] * (len(known[name]) > SHOWN)
                choices = ", ".join(map(str, [*known[name][:SHOWN], *more]))
                raise UnknownDecision(f"decision {name!r}: {value!r} is none of {choices}")
        values = {name: frozen(decisions.get(name, choices[0])) for name, choices in known.items()}
        # The choice itself: a value of JSON may equal it and have another type, as 2.0 and 2.
        return {name: known[name][known[name].index(value)] for name, value in values.items()}


def frozen(value: Any) -> Any:
    """The value with tuples in place of JSON's lists."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def to_json(record: Any) -> str:
    """A frozen dataclass of JSON values as text: equal dataclasses, equal text."""
    return json.dumps(asdict(record), sort_keys=True)


def from_json(text: str, plan: Callable[..., Any], problem: Callable[..., Any]) -> Any:
    """The plan of that class from the text of `to_json`; its field `problem` is of the other."""
    fields = {name: frozen(value) for name, value in json.loads(text).items()}
    told = {name: frozen(value) for name, value in fields.pop("problem").items()}
    return plan(problem(**told), **fields)


def chunks(default: str) -> Decision:
    """Which loops are the chunks that threads take; the default tells whether it is worth it."""
    choices = first(default, CHUNKS)
    alone = CHUNKS[0]
    costs = tuple(1.0 if (c == alone) == (default == alone) else MISJUDGED for c in choices)
    return Decision("chunks", choices, for_threads=True, costs=costs)


def first(default: Any, choices: Iterable[Any]) -> tuple[Any, ...]:
    """The choices with the default before the others."""
    return default, *(choice for choice in choices if choice != default)


def divisors(number: int, most: int) -> list[int]:
    """The powers of two up to `most` that divide a number, the least first."""
    return [1 << k for k in range(most.bit_length()) if number % (1 << k) == 0]
