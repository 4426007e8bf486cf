"""Assignments that show every layer with every choice before every width of its follower's input.

Costs of layers are read off whole networks: few of them are enough, as each shows all layers.
"""

from collections.abc import Mapping, Sequence

from qcompile.quantizer import Widths
from qcompile.search.accelerator.table import inputs_of

# A layer, its choice, and the width that the next layer reads (None: there is none).
Shown = tuple[str, Widths, int | None]


def covering(choices: Mapping[str, Sequence[Widths]]) -> list[dict[str, Widths]]:
    """The assignments, each with as many new cases as there can be. choices: in network order."""
    names, missing, found = list(choices), cases(choices), list[dict[str, Widths]]()
    while missing:
        assignment = _most_new(names, choices, missing)
        missing -= shown(assignment)
        found.append(assignment)
    return found


def cases(choices: Mapping[str, Sequence[Widths]]) -> set[Shown]:
    """Everything that is to be shown."""
    names = list(choices)
    behind: list[Sequence[int | None]] = [inputs_of(choices[name]) for name in names[1:]]
    return {
        (name, choice, after)
        for name, follower in zip(names, [*behind, [None]], strict=True)
        for choice in choices[name]
        for after in follower
    }


def shown(assignment: Mapping[str, Widths]) -> set[Shown]:
    """What one assignment shows."""
    names = list(assignment)
    behind = [*(assignment[name].activations for name in names[1:]), None]
    return {(name, assignment[name], after) for name, after in zip(names, behind, strict=True)}


def _most_new(
    names: Sequence[str], choices: Mapping[str, Sequence[Widths]], missing: set[Shown]
) -> dict[str, Widths]:
    """The assignment that shows most of what is missing, from the last layer to the first."""
    # By the width that a layer reads: how much that is new, and the choices from it on.
    behind: dict[int | None, tuple[int, tuple[Widths, ...]]] = {None: (0, ())}
    for name in reversed(names):
        found: dict[int | None, tuple[int, tuple[Widths, ...]]] = {}
        for choice in choices[name]:
            for after, (count, rest) in behind.items():
                way = (count + ((name, choice, after) in missing), (choice, *rest))
                if way[0] > found.get(choice.activations, (-1, ()))[0]:
                    found[choice.activations] = way
        behind = found
    return dict(zip(names, max(behind.values(), key=lambda way: way[0])[1], strict=True))
