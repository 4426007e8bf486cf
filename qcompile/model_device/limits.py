"""The arithmetic limit of a 64-bit core: what its best instructions do on data in registers.

In products and sums a cycle, by LLVM's model of the core. Both raise ModelError for other targets.
"""

from qcompile.errors import ModelError
from qcompile.model_device.core import load_core
from qcompile.model_device.mca import Texts, block_cycles
from qcompile.targets import Target
from qcompile.targets.arm import AARCH64

SUMS = 16  # independent accumulators: more than latency times throughput of any core here
GROUP = 8  # instructions of a kind in a row: in-order cores would wait between dependent ones


def int8_limit(target: Target) -> float:
    """Products and sums of int8 in a cycle, of the target's best instruction set."""
    if "i8mm" in target.features:
        return _rate(_sums("smmla v{s}.4s, v0.16b, v1.16b"), 32 * SUMS, target)
    if "dotprod" in target.features:
        return _rate(_sums("sdot v{s}.4s, v0.16b, v1.16b"), 16 * SUMS, target)
    chain = (
        "smull v{t}.8h, v0.8b, v1.8b",
        "smlal2 v{t}.8h, v0.16b, v1.16b",
        "sadalp v{s}.4s, v{t}.8h",
    )
    return _rate(_sums(*chain), 16 * SUMS, target)


def bit_limit(target: Target) -> float:
    """Products and sums of single bits in a cycle; one for each pair of planes."""
    counts = (
        "eor v{t}.16b, v0.16b, v1.16b",
        "cnt v{t}.16b, v{t}.16b",
        "add v{s}.16b, v{s}.16b, v{t}.16b",
    )
    return _rate(_sums(*counts), 128 * SUMS, target)


def _sums(*kinds: str) -> Texts:
    """Instructions on temporaries v2 and up, for accumulators v16 and up, in groups."""
    return tuple(
        kind.format(t=2 + k, s=16 + group + k)
        for group in range(0, SUMS, GROUP)
        for kind in kinds
        for k in range(GROUP)
    )


def _rate(body: Texts, products: int, target: Target) -> float:
    if target.architecture != AARCH64:
        raise ModelError(f"{target.name}: the limits of {AARCH64.name} targets alone are known")
    found = block_cycles([body], load_core(target), str(target.llvm["mtriple"]))[body]
    assert found.unknown == 0, body
    return products / found.cycles
