"""How the demo's data was made: int8 by onnxruntime's static quantizer, and 1,000 test images.

    python examples/quantize_fmnist.py fmnist_cnn_fp32.onnx \
        --train train-images-idx3-ubyte.gz \
        --test t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz -o qcompile/demo_data

Activations u8 (min-max over 500 training images), weights s8 per output channel, QDQ form.
"""

import argparse
import gzip
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

CALIBRATION_IMAGES = 500
TEST_IMAGES = 1000
HEADER_BYTES = {"idx3": 16, "idx1": 8}  # magic number and dimensions of an IDX file


class Images(CalibrationDataReader):
    """Batches of one image, pixels from 0 to 1."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self.batches = iter({name: image[None, None] / np.float32(255)} for image in images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def read_idx(path: Path) -> np.ndarray:
    """The bytes of an IDX file: (images, 28, 28) or (labels,)."""
    kind = "idx3" if "idx3" in path.name else "idx1"
    content = np.frombuffer(gzip.decompress(path.read_bytes()), "uint8", offset=HEADER_BYTES[kind])
    return content.reshape(-1, 28, 28) if kind == "idx3" else content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, nargs=2, required=True)
    parser.add_argument("-o", dest="output", type=Path, required=True)
    arguments = parser.parse_args()

    images, labels = (read_idx(path)[:TEST_IMAGES] for path in arguments.test)
    np.savez_compressed(arguments.output / "fashion_mnist_1k.npz", x=images, y=labels)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(arguments.model), str(prepared))
        name = onnx.load(prepared).graph.input[0].name
        quantize_static(
            str(prepared),
            str(arguments.output / "fmnist_cnn_int8_qdq.onnx"),
            Images(name, read_idx(arguments.train)[:CALIBRATION_IMAGES]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


if __name__ == "__main__":
    main()
