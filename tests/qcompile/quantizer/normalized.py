"""BatchNormalization put back into networks that have it folded."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qcompile.commands.reference import load_tensors

EPSILON = 1e-5


def with_batch_normalization(model, data):
    """The same function, each Conv followed by the statistics that its results have on `data`."""
    model, nodes = onnx.ModelProto.FromString(model.SerializeToString()), []
    tensors = load_tensors(model, "folded")(data)
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Conv":
            continue
        result, raw = node.output[0], f"{node.output[0]}_raw"
        values = tensors[result].astype("float64")
        axes = (0, *range(2, values.ndim))
        mean, variance = values.mean(axis=axes), values.var(axis=axes) + EPSILON
        constants = {"gamma": np.sqrt(variance + EPSILON), "beta": mean}
        constants |= {"mean": mean, "variance": variance}
        for name, array in constants.items():
            tensor = numpy_helper.from_array(array.astype("float32"), f"{result}_{name}")
            model.graph.initializer.append(tensor)
        names = [raw, *(f"{result}_{name}" for name in constants)]
        node.output[0] = raw
        nodes.append(helper.make_node("BatchNormalization", names, [result], epsilon=EPSILON))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
