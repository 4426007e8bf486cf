"""Every design with every assignment, summed one by one: what a search must agree with."""

import itertools


def every_point(designs):
    """(sensitivity, cycles, area, design, assignment) of all. designs: (area, tables) of each."""
    points = []
    for number, (area, tables) in enumerate(designs):
        for picks in itertools.product(*(range(len(layer.choices)) for layer in tables)):
            sensitivity, cycles = 0.0, 0.0
            for k, (layer, pick) in enumerate(zip(tables, picks, strict=True)):
                column = 0
                if k + 1 < len(tables):
                    reads = tables[k + 1].choices[picks[k + 1]].activations
                    column = sorted({c.activations for c in tables[k + 1].choices}).index(reads)
                sensitivity += layer.sensitivity[pick]
                cycles += layer.cycles[pick, column]
            points.append((sensitivity, cycles, area, number, picks))
    return points


def unbeaten(points):
    """The values (sensitivity, cycles, area) that no point is better than, each once."""
    values = {point[:3] for point in points if point[1] != float("inf")}
    return {
        value
        for value in values
        if not any(
            other != value and all(a <= b for a, b in zip(other, value, strict=True))
            for other in values
        )
    }
