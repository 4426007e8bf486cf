"""Gradients in NumPy, in the type of the data: of nodes, of layers, of whole float networks."""

from qcompile.quantizer.backward.contractions import layer_gradients
from qcompile.quantizer.backward.gradients import (
    BACKWARD,
    backward,
    expect_all_differentiable,
    expect_differentiable,
    forward,
    node_gradients,
)

__all__ = [
    "BACKWARD",
    "backward",
    "expect_all_differentiable",
    "expect_differentiable",
    "forward",
    "layer_gradients",
    "node_gradients",
]
