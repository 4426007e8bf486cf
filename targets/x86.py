"""x86-64 processors as LLVM and Linux name them."""

from qcompile.targets.architecture import Architecture

# Processors whose 512-bit instructions take two passes through 256-bit units.
# Source: AMD, Software Optimization Guide for the Zen 4 microarchitecture (57647).
HALF_WIDTH = frozenset({"znver4"})

# Instruction sets that LLVM may use for our code, with Linux' name of each in /proc/cpuinfo.
# Others that a processor has (aes, sha, amx, ...) need intrinsics that no kernel calls.
# Source: LLVM's X86.td; Linux, arch/x86/include/asm/cpufeatures.h.
FEATURES = {
    "sse3": "pni",
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "popcnt": "popcnt",
    "lzcnt": "abm",
    "movbe": "movbe",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "gfni": "gfni",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "avxvnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512cd": "avx512cd",
    "avx512bw": "avx512bw",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
}

# What every target must have: the x86-64-v3 level of the psABI.
BASELINE = (
    *("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "lzcnt", "movbe"),
    *("bmi", "bmi2", "avx", "avx2", "fma", "f16c"),
)

# What kernels on 64-byte vectors use without asking further.
WIDE = ("avx512f", "avx512bw", "avx512dq", "avx512vl")

# Values of `mcpu` that LLVM 22 knows and that have the baseline; it ends the process on others.
PROCESSORS = (
    *("x86-64-v3", "x86-64-v4", "haswell", "broadwell", "skylake", "skylake-avx512"),
    *("cascadelake", "cooperlake", "icelake-client", "icelake-server", "rocketlake", "tigerlake"),
    *("sapphirerapids", "emeraldrapids", "graniterapids", "gracemont", "alderlake", "raptorlake"),
    *("meteorlake", "arrowlake", "lunarlake", "sierraforest", "clearwaterforest"),
    *("znver1", "znver2", "znver3", "znver4", "znver5"),
)

X86_64 = Architecture(
    name="x86_64",
    triple="x86_64-unknown-linux-gnu",
    library_triple="x86_64-linux-gnu.2.17",  # runs with every glibc since 2012
    program_triple="x86_64-linux-musl",
    features=FEATURES,
    baseline=BASELINE,
    level="x86-64-v3",
    processors=PROCESSORS,
    vectors={(32, 16): (), (32, 32): WIDE, (64, 32): WIDE, (64, 16): WIDE},
)
