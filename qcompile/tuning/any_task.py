"""What a search asks of a task, whatever it is compiled for."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from qcompile.schedules.space import Space


class AnyTask(Protocol):
    """A kernel that decisions can be taken for; `layers` compute it, each call one of them.

    function: whose block `anchor` the search writes decisions to. fields: those of the problem, as
    JSON. products: multiplications that the arithmetic limit is about; None where it has none.
    """

    @property
    def operator(self) -> str: ...
    @property
    def epilogue(self) -> tuple[str, ...]: ...
    @property
    def function(self) -> tirx.PrimFunc: ...
    @property
    def space(self) -> Space: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def anchor(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def default(self) -> dict[str, Any]: ...
    @property
    def workload(self) -> str: ...
    @property
    def fields(self) -> dict[str, Any]: ...
    @property
    def products(self) -> int | None: ...

    def features(self, decisions: Mapping[str, Any], target: Any) -> NDArray[np.float32]:
        """What the cost model sees of a candidate: a vector, as long for all tasks of a target."""
        ...

    def expected(self, choices: Sequence[int]) -> float:
        """The logarithm of a candidate's speed, to the default's, before any is measured."""
        ...


def name_of(layers: Sequence[str]) -> str:
    """That of the first layer, and how many more there are."""
    more = len(layers) - 1
    return f"{layers[0]} +{more}" if more else layers[0]
