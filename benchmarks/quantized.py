"""Static quantization to int8 by onnxruntime: QDQ, u8 activations, s8 weights per channel."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

PER_CHANNEL_OPSET = 13  # the first whose DequantizeLinear has an axis

Inputs = Mapping[str, np.ndarray]


class Samples(CalibrationDataReader):
    """Whole inputs of a model, one after the other."""

    def __init__(self, samples: Sequence[Inputs]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Inputs | None:
        return next(self._samples, None)


def quantize_int8(
    model: Path, output: Path, samples: Sequence[Inputs], excluded: Sequence[str] = ()
) -> None:
    """Write the int8 form of the float `model`, calibrated (min-max) on `samples`.

    Nodes named in `excluded` stay float.
    """
    quantize_static(
        model,
        output,
        Samples(samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(excluded),
    )


def prepare(model: onnx.ModelProto, output: Path) -> None:
    """Write `model` as onnxruntime's quantizer wants it; it computes the same.

    The opset has scales per channel, constants are initializers, batch normalizations are part of
    their convolutions, and the biases of Gemm have one axis.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset < PER_CHANNEL_OPSET:
        model = version_converter.convert_version(model, PER_CHANNEL_OPSET)
    onnx.save(model, output)
    quant_pre_process(output, output)
    prepared = onnx.load(output)
    _flatten_biases(prepared.graph)
    onnx.save(prepared, output)


def _flatten_biases(graph: onnx.GraphProto) -> None:
    """Make Gemm's biases (1, N) to (N,): onnxruntime 1.31's quantizer fails on the former.

    Its pre-processing makes them of MatMul and Add.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    biases = {n.input[2] for n in graph.node if n.op_type == "Gemm" and len(n.input) == 3}
    for constant in graph.initializer:
        if constant.name in biases and readers[constant.name] == 1 and constant.dims[:-1] == [1]:
            del constant.dims[0]


def random_inputs(model: Path, count: int, seed: int) -> list[Inputs]:
    """Normal floats for each input of a model whose inputs are float32 of fixed shapes."""
    rng = np.random.default_rng(seed)
    shapes = dict(_input_shapes(onnx.load(model, load_external_data=False)))
    return [
        {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
        for _ in range(count)
    ]


def _input_shapes(model: onnx.ModelProto) -> Iterator[tuple[str, list[int]]]:
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if helper.tensor_dtype_to_np_dtype(tensor.elem_type) != np.float32:
            raise ValueError(f"input {value.name!r} is not float32")
        yield value.name, [d.dim_value for d in tensor.shape.dim]
