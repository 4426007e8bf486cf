"""Trained networks with labelled data, in a folder outside the project: what each one takes."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Array = np.ndarray
IDX_HEADER_BYTES = {"images": 16, "labels": 8}  # magic number and dimensions


@dataclass(frozen=True)
class Labelled:
    """A network, its data, and what its pixels are multiplied by. `integer`: 8 bits or fewer."""

    name: str
    data: str
    scale: float
    integer: bool

    def model(self, folder: Path) -> Path:
        return folder / "models" / f"{self.name}.onnx"

    def samples(self, folder: Path) -> tuple[Array, Array]:
        """Images (samples, C, H, W) float32 as the network takes them, and their classes."""
        images, classes = READERS[self.data](folder)
        return images.astype("float32") * np.float32(self.scale), classes.astype("int64")


def _fashion_mnist(folder: Path) -> tuple[Array, Array]:
    images = read_idx(folder / "fashion-mnist" / "t10k-images-idx3-ubyte.gz", "images")
    labels = read_idx(folder / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz", "labels")
    return images.reshape(-1, 1, 28, 28), labels


def _cifar10(folder: Path) -> tuple[Array, Array]:
    content = np.load(folder / "cifar10-jpeg" / "test2k.npz")
    return content["x"].transpose(0, 3, 1, 2), content["y"]


def read_idx(path: Path, kind: str) -> Array:
    """The bytes of an IDX file without its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[IDX_HEADER_BYTES[kind] :], "uint8")


def _mnist(folder: Path) -> tuple[Array, Array]:
    images = read_idx(folder / "mnist" / "t10k-images-idx3-ubyte.gz", "images")
    labels = read_idx(folder / "mnist" / "t10k-labels-idx1-ubyte.gz", "labels")
    return images.reshape(-1, 1, 28, 28), labels


READERS = {"fashion-mnist": _fashion_mnist, "cifar10-jpeg": _cifar10, "mnist": _mnist}

LABELLED = {
    network.name: network
    for network in (
        Labelled("resnet8_int8_qdq", "cifar10-jpeg", 1, True),
        Labelled("resnet8_int8_qoperator", "cifar10-jpeg", 1, True),
        Labelled("resnet8_w4a8_qdq", "cifar10-jpeg", 1, True),
        Labelled("resnet8_fp32", "cifar10-jpeg", 1, False),
        Labelled("resnet8_ft_fp32", "cifar10-jpeg", 1 / 255, False),
        Labelled("fmnist_cnn_fp32", "fashion-mnist", 1 / 255, False),
        Labelled("fmnist_cnn_w4a4_qcdq", "fashion-mnist", 1 / 255, True),
        Labelled("fmnist_cnn_w2a2_qcdq", "fashion-mnist", 1 / 255, True),
        Labelled("fmnist_cnn_w4a4_qonnx", "fashion-mnist", 1 / 255, True),
        Labelled("fmnist_cnn_w2a2_qonnx", "fashion-mnist", 1 / 255, True),
        Labelled("fmnist_cnn_w1a1_qonnx", "fashion-mnist", 1 / 255, True),
        Labelled("fmnist_cnn_mixed_qonnx", "fashion-mnist", 1 / 255, True),
        Labelled("tfc_1w1a_qonnx", "mnist", 1 / 255, True),
        Labelled("tfc_1w2a_qonnx", "mnist", 1 / 255, True),
    )
}
