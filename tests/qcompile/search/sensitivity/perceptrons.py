"""Small dense networks as ONNX, and the same in NumPy float64: the oracle of sensitivities."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tests.qcompile.quantizer.float_networks import Graph

DEPTHS = (10, 16, 16, 4)
FUNCTIONS = {"Tanh": np.tanh, "Relu": lambda x: np.maximum(x, 0)}


@dataclass
class Perceptron:
    """Layers "dense0" to "dense2" with a function between; `weights` are (O, d)."""

    weights: list
    biases: list
    function: str
    model: object
    data: dict

    def forward(self, x, start=0, weights=None, biases=None, after=None):
        """The scores, from the input x of layer `start`; `after`: stop behind that layer."""
        weights, biases = weights or self.weights, biases or self.biases
        x = x.astype("float64")
        for k in range(start, len(weights)):
            x = x @ weights[k].astype("float64").T + biases[k].astype("float64")
            if k + 1 < len(weights):
                x = FUNCTIONS[self.function](x)
            if k == after:
                return x
        return x

    def input_of(self, layer, x):
        """What reaches a layer."""
        return self.forward(x, after=layer - 1) if layer else x.astype("float64")


def perceptron(function="Tanh", seed=0, samples=60, softmax=False, scale=1.0):
    graph = Graph(DEPTHS[:1], seed)
    x, weights, biases = "x", [], []
    for k, (inputs, outputs) in enumerate(pairwise(DEPTHS)):
        weights.append(1.5 * graph.normal(outputs, inputs))
        biases.append((0.2 * graph.normal(outputs)).astype("float32"))
        if k + 2 == len(DEPTHS):
            weights[-1] = weights[-1] * np.float32(scale)
        constants = [graph.constant(weights[-1]), graph.constant(biases[-1])]
        x = graph.node("Gemm", x, *constants, name=f"dense{k}", transB=1)
        if k + 2 < len(DEPTHS):
            x = graph.node(function, x)
    model = graph.model(graph.node("Softmax", x) if softmax else x)
    return Perceptron(weights, biases, function, model, graph.data(samples))


def log_softmax(scores):
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def divergence(floats, changed):
    """KL of each sample."""
    p, q = log_softmax(floats), log_softmax(changed)
    return (np.exp(p) * (p - q)).sum(axis=1)


def cross_entropy(scores, labels):
    return -log_softmax(scores)[np.arange(len(labels)), labels]
