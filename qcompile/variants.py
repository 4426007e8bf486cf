"""The file of `compile --variants`: more networks for the bundle of a model.

    {"variants": {"depth_4": {"model": "depth4.onnx"}, "depth_2": {"model": "depth2.onnx"}}}

Names are C identifiers; paths are relative to the file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcompile.errors import InvalidInput
from qcompile.export.network import expect_variant_name
from qcompile.files import expect_regular


def read_variants(file: str | Path) -> dict[str, Path]:
    """The model of each variant, by name. Raises InvalidInput that says where the file is wrong."""
    path = Path(file)
    try:
        expect_regular(path)
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_distinct)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: is no JSON: {error}") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    try:
        variants = _fields(content, ["variants"], "the file")["variants"]
        if not isinstance(variants, dict) or not variants:
            raise InvalidInput("'variants' maps names to models, and holds at least one")
        return {name: _model(name, fields, path.parent) for name, fields in variants.items()}
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error


def _model(name: str, fields: Any, folder: Path) -> Path:
    """The file of one variant."""
    expect_variant_name(name)
    where = f"variant {name!r}"
    model = _fields(fields, ["model"], where)["model"]
    if not isinstance(model, str):
        raise InvalidInput(f"{where}: 'model' is {model!r}; a file name would work")
    try:
        expect_regular(folder / model)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{where}: {folder / model}: cannot be read: {reason}") from error
    return folder / model


def _fields(content: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    """The content, an object with exactly these fields."""
    if not isinstance(content, dict) or set(content) != set(names):
        found = sorted(content) if isinstance(content, dict) else content
        raise InvalidInput(f"{where}: found {found!r}; it has exactly the fields {list(names)}")
    return content


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises InvalidInput when a name comes twice."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"found {', '.join(map(repr, twice))} twice")
    return dict(pairs)
