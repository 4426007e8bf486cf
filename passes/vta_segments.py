"""Which layers run on VTA together: segments without anything of the host between their layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tvm import relax

from qcompile.passes.vta_graph import VtaGraph, variables_of
from qcompile.passes.vta_layers import VtaLayer
from qcompile.passes.vta_windows import Gathered, gathered
from qcompile.targets.vta.layers import Segment


@dataclass(frozen=True, eq=False)
class VtaRun:
    """Layers that run together, the variables that come in, and those that others read.

    windows: of the inputs that the host gathers (vta_windows.py).
    """

    layers: tuple[VtaLayer, ...]
    inputs: tuple[relax.Var, ...]
    outputs: tuple[relax.Var, ...]
    segment: Segment
    windows: Mapping[relax.Var, Gathered]


@dataclass(frozen=True, eq=False)
class VtaRuns:
    """What runs on VTA, and the variables that the host has: its own, and what comes back."""

    runs: tuple[VtaRun, ...]
    host: frozenset[relax.Var]


def vta_runs(graph: VtaGraph, layers: Sequence[VtaLayer], result: relax.Expr) -> VtaRuns:
    """The largest segments in which no layer waits for the host.

    A layer's level counts the times that data went from the host to VTA before it. Layers of one
    level never wait for each other through the host; those that touch the same tensors make one
    segment. result: what the function returns.
    """
    made = {layer.output: layer for layer in layers}
    levels = _levels(graph, made)
    groups: list[list[VtaLayer]] = []
    for layer in layers:
        touching = [
            group
            for group in groups
            if levels[group[0].output] == levels[layer.output]
            and any(_touch(layer, other) for other in group)
        ]
        for group in touching:
            groups.remove(group)
        groups.append([*(other for group in touching for other in group), layer])
    order = {layer.output: place for place, layer in enumerate(layers)}
    ordered = [sorted(group, key=lambda layer: order[layer.output]) for group in groups]
    ordered.sort(key=lambda group: (levels[group[0].output], order[group[0].output]))
    host, outside = _needed(graph, ordered, result)
    runs = tuple(_run(graph, group, outside, set(made)) for group in ordered)
    return VtaRuns(runs, frozenset(host))


def _levels(graph: VtaGraph, made: dict[relax.Var, VtaLayer]) -> dict[relax.Var, int]:
    levels: dict[relax.Var, int] = {}
    for var, value in graph.values.items():
        layer = made.get(var)
        if layer is None:
            levels[var] = max((levels.get(read, 0) for read in variables_of(value)), default=0)
        else:
            levels[var] = max(levels.get(read, 0) + (read not in made) for read in layer.inputs)
    return levels


def _touch(layer: VtaLayer, other: VtaLayer) -> bool:
    """Whether one reads the other's output, or both the same tensor."""
    return bool({other.output, *other.inputs} & {layer.output, *layer.inputs})


def _needed(
    graph: VtaGraph, groups: list[list[VtaLayer]], result: relax.Expr
) -> tuple[set[relax.Var], set[relax.Var]]:
    """The variables that the host has, and the outputs of layers that leave their segment."""
    number = {layer.output: k for k, group in enumerate(groups) for layer in group}
    host: set[relax.Var] = set()
    outside: set[relax.Var] = set()
    reached: set[int] = set()
    waiting = list(variables_of(result))
    while waiting:
        var = waiting.pop()
        if var in host:
            continue
        host.add(var)
        if var not in number:
            waiting += variables_of(graph.values[var]) if var in graph.values else []
            continue
        segments = [number[var]]
        outside.add(var)
        while segments:
            segment = segments.pop()
            if segment in reached:
                continue
            reached.add(segment)
            for read in (read for layer in groups[segment] for read in layer.inputs):
                if read not in number:
                    waiting.append(read)
                elif number[read] != segment:
                    outside.add(read)
                    segments.append(number[read])
    return host, outside


def _run(
    graph: VtaGraph, group: list[VtaLayer], read: set[relax.Var], made: set[relax.Var]
) -> VtaRun:
    outputs = [layer.output for layer in group]
    inputs = list(dict.fromkeys(r for layer in group for r in layer.inputs if r not in outputs))
    outer = [var for var in outputs if var in read]
    layers = tuple(layer.layer for layer in group)
    windows: dict[relax.Var, Gathered] = {}
    for var in (var for var in inputs if var not in made):
        found = gathered(graph.tensor(var), layers, graph.config)
        if found is not None:
            windows[var], layers = found, found.layers
    tensors = [windows[var].tensor if var in windows else graph.tensor(var) for var in inputs]
    segment = Segment(
        name=group[0].layer.name,
        tensors=tuple(tensors),
        inputs=tuple(tensor.name for tensor in tensors),
        outputs=tuple(map(graph.name, outer)),
        layers=layers,
    )
    return VtaRun(tuple(group), tuple(inputs), tuple(outer), segment, windows)


def with_names_of_their_own(graph: VtaGraph, layers: Sequence[VtaLayer]) -> list[VtaLayer]:
    """The layers. Of those with equal names, as zero points of weights make, one keeps it."""
    taken: set[str] = set()
    named = []
    for layer in layers:
        name = layer.layer.name if layer.layer.name not in taken else graph.name(layer.output)
        taken.add(name)
        named.append(replace(layer, layer=replace(layer.layer, name=name)))
    return named
