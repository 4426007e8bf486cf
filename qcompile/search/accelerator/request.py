"""What a co-search is asked, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from qcompile.arrays import Array, TensorSpec, take_samples
from qcompile.errors import InvalidInput, UnknownTarget
from qcompile.frontend.shapes import static_shapes
from qcompile.frontend.tensors import io_dtype
from qcompile.quantizer import Widths
from qcompile.quantizer.network import load_network
from qcompile.search.accelerator.costs import Sensitivities
from qcompile.search.accelerator.space import SHARES, Space, expect_known, usual_space
from qcompile.search.accelerator.store import key_of
from qcompile.targets import VtaTarget, list_boards, load_target
from qcompile.targets.vta.resources import Device, devices

Choices = Mapping[str, Sequence[Widths]]
EIGHT = Widths(8, 8)


@dataclass(frozen=True)
class Limits:
    """points: to simulate, at most. max_drop: of the share of right samples, from the baseline's.

    budget_s: of the time, None: any. shares: of each of the part's resources. refined: points more,
    between the fastest that keeps the accuracy and what is faster.
    """

    points: int = 24
    max_drop: float = 0.01
    budget_s: float | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    refined: int = 8

    def __post_init__(self) -> None:
        if self.points < 1:
            raise InvalidInput(f"points is {self.points}; 1 or more work")


def board_of(board: VtaTarget | str) -> VtaTarget:
    """The board, or the first with that part. Raises UnknownTarget."""
    if isinstance(board, VtaTarget):
        return board
    if board in devices():
        found = [each for each in list_boards() if each.part == board]
        if not found:
            raise UnknownTarget(f"part {board!r}: no board has it; give the TOML file of one")
        return found[0]
    target = load_target(board)
    if not isinstance(target, VtaTarget):
        known = ", ".join(each.name for each in list_boards())
        raise UnknownTarget(f"{board}: has no VTA accelerator; boards are {known}")
    return target


def part_of(board: VtaTarget) -> Device:
    """The facts of the board's part. Raises Unsupported where there are none."""
    return expect_known(board.part, devices())


def space_of(space: Space | Mapping[str, Any] | None, board: VtaTarget) -> Space:
    if space is None:
        return usual_space(board)
    return space if isinstance(space, Space) else Space.from_json(space, board)


def in_order(
    model: Path, choices: Choices, sensitivities: Sensitivities
) -> tuple[dict[str, tuple[Widths, ...]], dict[str, dict[Widths, float]]]:
    """Choices and sensitivities of every layer, in the network's order.

    Layers without choices have 8 bits. Raises InvalidInput for layers that the network has not,
    and for choices without a sensitivity.
    """
    names = [layer.name for layer in load_network(model).layers.values()]
    if unknown := [name for name in choices if name not in names]:
        raise InvalidInput(f"layer {unknown[0]!r}: not in the model; it has {', '.join(names)}")
    ordered = {name: tuple(dict.fromkeys(choices.get(name, (EIGHT,)))) for name in names}
    scores: dict[str, dict[Widths, float]] = {}
    for name, own in ordered.items():
        if not own:
            raise InvalidInput(f"layer {name!r}: no widths to choose from")
        given = sensitivities.get(name, {}) if name in choices else {EIGHT: 0.0}
        for one in own:
            if one not in given or not isfinite(given[one]):
                told = given.get(one, "missing")
                raise InvalidInput(
                    f"layer {name!r}: its sensitivity at w{one.weights}a{one.activations} is "
                    f"{told}; a finite number works"
                )
        scores[name] = {one: float(given[one]) for one in own}
    return ordered, scores


def expect_labelled(model: Path, labelled: Mapping[str, Array]) -> None:
    """Raises InvalidInput where samples do not fit the model, or have no labels: before long work.

    How many there are of each is compared, too.
    """
    network = load_network(model)
    shapes = static_shapes(network.model.graph, None, {})
    specs = [
        TensorSpec(v.name, str(io_dtype(v.type.tensor_type.elem_type, v.name)), shapes[v.name])
        for v in network.inputs
    ]
    if take_samples(labelled, specs).labels is None:
        raise InvalidInput("labelled data: no labels; an array `y` or `label` holds them")


def content_key(model: Path, *arrays: Mapping[str, Array] | None) -> str:
    """The same for the same model and data."""
    parts: list[Any] = [model.read_bytes()]
    for each in arrays:
        for name in sorted(each or {}):
            array = (each or {})[name]
            parts += [name, str(array.dtype), list(array.shape), array.tobytes()]
    return key_of(*parts)
