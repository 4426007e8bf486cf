"""JSON values by one spelling each, so that equal ones can be compared, hashed and found."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

WORKLOAD_DIGITS = 16
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, ASCII; tuples are lists.

    Raises ValueError or TypeError for what JSON cannot say: NaN, infinity, other types.
    """
    return ENCODER.encode(value)


def workload_of(operator: str, problem: Mapping[str, Any], epilogue: Sequence[str]) -> str:
    """The name of what a kernel computes: 16 hexadecimal digits of its canonical JSON's SHA-256."""
    text = canonical({"operator": operator, "problem": problem, "epilogue": list(epilogue)})
    return hashlib.sha256(text.encode()).hexdigest()[:WORKLOAD_DIGITS]
