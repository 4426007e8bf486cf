"""One node of a forward run, on the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """What a node had and made, and the gradient of its result.

    `needed`: of which inputs the gradient is asked for.
    """

    attributes: dict[str, Any]
    inputs: Sequence[Array | None]
    result: Array
    upstream: Array
    needed: Sequence[bool]

    def input(self, index: int) -> Array:
        found = self.inputs[index]
        assert found is not None
        return found


def as_large_as(gradient: Array, operand: Array) -> Array:
    """The gradient of an operand that was broadcast to the gradient's shape."""
    extra = gradient.ndim - operand.ndim
    summed = gradient.sum(axis=tuple(range(extra)))
    stretched = tuple(k for k, n in enumerate(operand.shape) if n == 1 and summed.shape[k] != 1)
    return np.asarray(summed.sum(axis=stretched, keepdims=True))
