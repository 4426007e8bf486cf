"""Fix every dimension of the model's inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from qcompile.errors import InvalidInput, Unsupported
from qcompile.frontend.tensors import elements

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class InputShape:
    """One real input of the graph; open dimensions are their name, or "?"."""

    name: str
    extents: tuple[int | str, ...] | None  # None: not even the rank is known


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no initializers."""
    initialized = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialized]


def declared_shape(value: onnx.ValueInfoProto) -> InputShape:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return InputShape(value.name, None)
    # Exporters also write 0 and -1 for open dimensions.
    extents = [
        int(dim.dim_value) if dim.dim_value not in (0, -1) else dim.dim_param or "?"
        for dim in tensor.shape.dim
    ]
    return InputShape(value.name, tuple(extents))


def static_shapes(
    graph: onnx.GraphProto, batch: int | None, shapes: Shapes
) -> dict[str, tuple[int, ...]]:
    """The shape of every real input.

    An open first dimension is `batch` (1 by default); every dimension of the same name follows.
    `shapes` overrides whole shapes. Raises InvalidInput for options that fit no input, Unsupported
    for dimensions that stay open.
    """
    declared = [declared_shape(value) for value in real_inputs(graph)]
    unknown = set(shapes) - {entry.name for entry in declared}
    if unknown:
        names = ", ".join(entry.name for entry in declared)
        raise InvalidInput(f"--shape names '{min(unknown)}'; the inputs are {names}")
    if batch is not None and batch < 1:
        raise InvalidInput(f"--batch is {batch}; at least 1 is needed")
    open_first = [e for e in declared if e.extents and isinstance(e.extents[0], str)]
    free = [entry for entry in open_first if entry.name not in shapes]
    if batch is not None and not free and not _already(declared, batch, shapes):
        raise InvalidInput("--batch: no input has an open first dimension; use --shape")
    bound = {entry.extents[0]: batch or 1 for entry in free if entry.extents}
    bound.pop("?", None)
    for entry in declared:
        if entry.name in shapes:
            _bind(entry, shapes[entry.name], bound)
    return {entry.name: _fixed(entry, batch or 1, shapes, bound) for entry in declared}


def _already(declared: list[InputShape], batch: int, shapes: Shapes) -> bool:
    """Whether every first dimension is the wanted batch size anyway."""
    known = [shapes.get(entry.name, entry.extents) for entry in declared]
    return bool(known) and all(shape and shape[0] == batch for shape in known)


def _bind(entry: InputShape, shape: Sequence[int], bound: dict[int | str, int]) -> None:
    if entry.extents is not None and len(shape) != len(entry.extents):
        raise InvalidInput(
            f"--shape gives '{entry.name}' {len(shape)} dimensions; it has {len(entry.extents)}"
        )
    if any(extent < 0 for extent in shape):
        raise InvalidInput(f"--shape gives '{entry.name}' a negative dimension")
    for name, extent in zip(entry.extents or (), shape, strict=False):
        if isinstance(name, str) and name != "?":
            bound.setdefault(name, int(extent))


def _fixed(
    entry: InputShape, batch: int, shapes: Shapes, bound: Mapping[int | str, int]
) -> tuple[int, ...]:
    if entry.name in shapes:
        shape = tuple(int(extent) for extent in shapes[entry.name])
    elif entry.extents is None:
        raise Unsupported(f"input '{entry.name}' has no shape; give it with {_hint(entry)}")
    else:
        extents = [bound.get(extent, extent) for extent in entry.extents]
        if extents and isinstance(extents[0], str):
            extents[0] = batch
        still_open = [extent for extent in extents if isinstance(extent, str)]
        if still_open:
            raise Unsupported(
                f"input '{entry.name}' has an open dimension '{still_open[0]}' in "
                f"{list(entry.extents)}; fix it with {_hint(entry)}"
            )
        shape = tuple(int(extent) for extent in extents)
    elements(list(shape), f"input '{entry.name}'")
    return shape


def _hint(entry: InputShape) -> str:
    extents = entry.extents or (1, 3, 224, 224)
    sizes = [extent if isinstance(extent, int) else "SIZE" for extent in extents]
    if entry.extents and isinstance(entry.extents[0], str):
        sizes[0] = 1
    return f"--shape {entry.name}:{'x'.join(map(str, sizes))} (--batch sets the first one)"
