"""Retrain a network at given bit widths with PyTorch and Brevitas: a fine-tuning hook for a search.

    pip install torch brevitas onnxoptimizer onnxscript
    qcompile search demo/fp32.onnx --on host --data test.npz -o found \\
        --fine-tune "python examples/fine_tune_brevitas.py train.npz"

A search calls its hook as COMMAND BITS_JSON OUTPUT_ONNX. bits.json holds the widths that it would
like to have, {"layers": {"node_Conv_58": {"w": 2, "a": 4}, ...}}, by the names of the float
model's layers: `w` bits of the weights, `a` bits of the layer's input, 8 where none are given. The
hook writes a quantized ONNX file whose layers have these names and widths, and ends with code 0.

Here the float model is qcompile's bundled Fashion-MNIST network (28x28, three convolutions, two
dense layers); a network of your own takes its place in `Network`. train.npz holds training images
(samples, 1, 28, 28) of 0 to 1 as any array, and their classes as `y`. Widths are 2 to 8 bits:
Brevitas has other quantizers for one bit.
"""

import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloatMSE,
    Uint8ActPerTensorFloat,
)
from onnx import numpy_helper
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5
BATCH = 128
RATE = 1e-3
FLOAT_MODEL = files("qcompile") / "demo_data" / "fmnist_cnn_fp32.onnx"
# The layers in the order of the data: their names, and the names of their weights and biases.
LAYERS = {
    "node_Conv_56": ("1.weight", "1.weight_bias"),
    "node_Conv_58": ("5.weight", "5.weight_bias"),
    "node_Conv_60": ("9.weight", "9.weight_bias"),
    "node_Gemm_61": ("14.weight", "14.weight_bias"),
    "node_linear_1": ("17.weight", "17.bias"),
}


class Network(torch.nn.Module):
    """The float model's layers, each with the widths that are asked for, and its weights."""

    def __init__(self, widths, constants):
        super().__init__()
        layers = []
        for number, (name, (weights, bias)) in enumerate(LAYERS.items()):
            layer = quantized_layer(constants[weights].shape, number == 0, **widths.get(name, {}))
            layer.weight.data.copy_(torch.from_numpy(constants[weights].copy()))
            layer.bias.data.copy_(torch.from_numpy(constants[bias].copy()))
            layers.append(layer)
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x):
        *convolutions, hidden, last = self.layers
        for layer in convolutions:
            x = functional.max_pool2d(functional.relu(layer(x)), 2)
        return last(functional.relu(hidden(x.flatten(1))))


def quantized_layer(shape, first, w=8, a=8):
    """A layer with weights of the shape; what comes behind a Relu is never negative."""
    options = {
        "bias": True,
        "weight_quant": Int8WeightPerChannelFloatMSE,
        "weight_bit_width": w,
        "input_quant": Int8ActPerTensorFloat if first else Uint8ActPerTensorFloat,
        "input_bit_width": a,
    }
    if len(shape) == 2:
        return qnn.QuantLinear(shape[1], shape[0], **options)
    return qnn.QuantConv2d(shape[1], shape[0], shape[2:], padding=shape[2] // 2, **options)


def read(path):
    """The training images and their classes."""
    arrays = dict(np.load(path))
    labels = torch.from_numpy(arrays.pop("y").astype("int64"))
    (images,) = arrays.values()
    return TensorDataset(torch.from_numpy(images.astype("float32")), labels)


def train(network, data):
    """Adam with a rate that falls along a cosine."""
    loader = DataLoader(data, BATCH, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    network.train()
    for epoch in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.3f}", file=sys.stderr)


def write(network, output):
    """As QONNX, the layers named as in the float model: the search finds them by these names."""
    network.eval()
    with tempfile.TemporaryDirectory() as folder:
        exported = str(Path(folder) / "exported.onnx")  # its constants are a file beside it
        export_qonnx(network, args=torch.zeros(1, 1, 28, 28), export_path=exported)
        model = onnx.load(exported)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    for node, name in zip(layers, LAYERS, strict=True):
        node.name = name
    onnx.save(model, output)


def main():
    _, data, bits, output = sys.argv
    with open(bits) as file:
        widths = json.load(file)["layers"]
    if unknown := set(widths) - set(LAYERS):
        sys.exit(f"{bits}: the network has no layers {', '.join(sorted(unknown))}")
    graph = onnx.load(str(FLOAT_MODEL)).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    torch.manual_seed(0)
    network = Network(widths, constants)
    train(network, read(data))
    write(network, output)


if __name__ == "__main__":
    main()
