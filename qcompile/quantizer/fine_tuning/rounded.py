"""Rounding to a grid that can be learned through."""

from dataclasses import dataclass

from qcompile.quantizer.grid import Array, Grid

REACH = 0.5  # of a step: values so far beyond the grid's ends still round to it


@dataclass(frozen=True)
class Rounded:
    """`values` on a grid of the given step, and the gradients that rounding has none of.

    `inside`: which values lie within the grid's ends. Back through the rounding a gradient passes
    as if it were the identity, outside nothing passes; the step's follows with the codes constant
    (Esser et al. 2020, LSQ, eq. 3 and 5).
    """

    values: Array
    inside: Array
    steps: Array
    step: Array
    bipolar: bool

    @staticmethod
    def of(x: Array, step: Array, grid: Grid) -> "Rounded":
        steps = x / step
        low, high = (-1, 1) if grid.bipolar else (grid.low - REACH, grid.high + REACH)
        inside = (steps >= low) & (steps <= high)
        return Rounded(grid.codes(steps) * step, inside, steps, step, grid.bipolar)

    def back(self, upstream: Array) -> Array:
        """The gradient of what was rounded."""
        return upstream * self.inside

    def growth(self, upstream: Array) -> Array:
        """The gradient of the step's logarithm, of each value's own."""
        if self.bipolar:
            return upstream * self.values
        return upstream * (self.values - self.steps * self.step * self.inside)
