"""Which arithmetic limit a kernel has."""

VTA = "VTA"  # of its GEMM unit
SUFFIXES = {
    "_int8": "int8",
    "_packed": "int8",
    "_bits": "bits",
    "_f32": "float32",
    "vta_sums": VTA,
}


def kind_of(operator: str) -> str | None:
    """That of an operator's products; None where it has none."""
    if "pool" in operator:
        return None
    return next((kind for end, kind in SUFFIXES.items() if operator.endswith(end)), None)
