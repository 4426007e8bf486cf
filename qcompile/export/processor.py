"""Whether a processor has a target's instruction sets, as C that all of its architecture run."""

from collections.abc import Mapping, Sequence

from qcompile.export.runtime_files import runtime
from qcompile.targets import Architecture

# (leaf, subleaf, register, bit) of the CPUID instruction that tells about each of LLVM's features.
# Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
CPUID = {
    "sse3": (1, 0, "ecx", 0),
    "ssse3": (1, 0, "ecx", 9),
    "sse4.1": (1, 0, "ecx", 19),
    "sse4.2": (1, 0, "ecx", 20),
    "popcnt": (1, 0, "ecx", 23),
    "movbe": (1, 0, "ecx", 22),
    "avx": (1, 0, "ecx", 28),
    "fma": (1, 0, "ecx", 12),
    "f16c": (1, 0, "ecx", 29),
    "bmi": (7, 0, "ebx", 3),
    "bmi2": (7, 0, "ebx", 8),
    "avx2": (7, 0, "ebx", 5),
    "avx512f": (7, 0, "ebx", 16),
    "avx512dq": (7, 0, "ebx", 17),
    "avx512ifma": (7, 0, "ebx", 21),
    "avx512cd": (7, 0, "ebx", 28),
    "avx512bw": (7, 0, "ebx", 30),
    "avx512vl": (7, 0, "ebx", 31),
    "avx512vbmi": (7, 0, "ecx", 1),
    "avx512vbmi2": (7, 0, "ecx", 6),
    "gfni": (7, 0, "ecx", 8),
    "vaes": (7, 0, "ecx", 9),
    "vpclmulqdq": (7, 0, "ecx", 10),
    "avx512vnni": (7, 0, "ecx", 11),
    "avx512bitalg": (7, 0, "ecx", 12),
    "avx512vpopcntdq": (7, 0, "ecx", 14),
    "avx512fp16": (7, 0, "edx", 23),
    "avxvnni": (7, 1, "eax", 4),
    "avx512bf16": (7, 1, "eax", 5),
    "lzcnt": (0x80000001, 0, "ecx", 5),
}

OSXSAVE = (1, 0, "ecx", 27)
# Parts of a thread's registers that the system must save: XMM and YMM; masks and ZMM.
YMM_STATE, ZMM_STATE = 0x06, 0xE6


# (word of the auxiliary vector, bit) of Linux that tells about each of LLVM's features.
# Source: Linux, arch/arm64/include/uapi/asm/hwcap.h and arch/arm/include/uapi/asm/hwcap.h.
HWCAPS = {
    "aarch64": {"neon": ("AT_HWCAP", 1), "dotprod": ("AT_HWCAP", 20), "i8mm": ("AT_HWCAP2", 13)},
    "armv7": {"neon": ("AT_HWCAP", 12), "vfp4": ("AT_HWCAP", 16)},
}


def processor_check(architecture: Architecture, features: Sequence[str]) -> str:
    """C: `static int processor_fits(void)`, 1 when the processor tells of all `features`."""
    x86 = architecture.name == "x86_64"
    file = "processor_x86.c" if x86 else "processor_arm.c"
    checks = _cpuid(features) if x86 else _hwcaps(HWCAPS[architecture.name], features)
    conditions = "\n        && ".join(checks)
    function = f"static int processor_fits(void) {{\n    return {conditions};\n}}\n"
    return f"{runtime(file)}\n{function}"


def _cpuid(features: Sequence[str]) -> list[str]:
    masks: dict[tuple[int, int, str], int] = {}
    for leaf, subleaf, register, bit in [OSXSAVE, *(CPUID[name] for name in features)]:
        key = leaf, subleaf, register
        masks[key] = masks.get(key, 0) | 1 << bit
    state = ZMM_STATE if any(name.startswith("avx512") for name in features) else YMM_STATE
    registers = ("eax", "ebx", "ecx", "edx")
    checks = [
        f"has(0x{leaf:x}u, {subleaf}u, {registers.index(register)}, 0x{mask:x}u)"
        for (leaf, subleaf, register), mask in masks.items()
    ]
    return [*checks, f"saves(0x{state:x}u)"]


def _hwcaps(capabilities: Mapping[str, tuple[str, int]], features: Sequence[str]) -> list[str]:
    masks: dict[str, int] = {}
    for word, bit in (capabilities[name] for name in features):
        masks[word] = masks.get(word, 0) | 1 << bit
    return [f"has({word}, 0x{mask:x}ul)" for word, mask in masks.items()]
