"""ARM processors, 64 and 32 bits, as LLVM and Linux name them."""

from qcompile.targets.architecture import Architecture

# Instruction sets that kernels may use, with Linux' name of each in /proc/cpuinfo.
# Source: LLVM's AArch64Features.td and ARMFeatures.td; Linux, Documentation/arch/arm64/elf_hwcaps
# and arch/arm/kernel/setup.c.
FEATURES_64 = {"neon": "asimd", "dotprod": "asimddp", "i8mm": "i8mm"}
FEATURES_32 = {"neon": "neon", "vfp4": "vfpv4"}

# Processors that issue instructions in order: a load takes the place of other work.
IN_ORDER = frozenset({"cortex-a35", "cortex-a53", "cortex-a55", "cortex-a510"})

AARCH64 = Architecture(
    name="aarch64",
    triple="aarch64-linux-gnu",
    library_triple="aarch64-linux-gnu.2.17",  # the first glibc for AArch64, 2012
    program_triple="aarch64-linux-musl",
    features=FEATURES_64,
    baseline=("neon",),
    level="ARMv8-A with NEON",
    processors=(
        *("generic", "cortex-a35", "cortex-a53", "cortex-a55", "cortex-a57", "cortex-a72"),
        *("cortex-a73", "cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78", "cortex-a510"),
        *("cortex-a710", "cortex-a715", "cortex-a720", "cortex-x1", "cortex-x2", "cortex-x3"),
        *("neoverse-n1", "neoverse-n2", "neoverse-v1", "neoverse-v2"),
        *("apple-m1", "apple-m2", "apple-m3", "apple-m4"),
    ),
    vectors={(16, 32): ()},
    # No kernel needs them, and a target does not promise what LLVM thinks that `mcpu` has.
    attributes=("-sve", "-sme", "-fullfp16", "-bf16"),
)

ARMV7 = Architecture(
    name="armv7",
    triple="armv7a-linux-gnueabihf",
    library_triple="arm-linux-gnueabihf.2.17",
    program_triple="arm-linux-musleabihf",
    features=FEATURES_32,
    baseline=("neon",),
    level="ARMv7-A with NEON",
    processors=(
        *("generic", "cortex-a5", "cortex-a7", "cortex-a8", "cortex-a9", "cortex-a12"),
        *("cortex-a15", "cortex-a17"),
    ),
    vectors={(16, 16): ()},
    # LLVM 22's merging of stores (stm) may change an address that a later store still needs.
    options={"mfloat-abi": "hard", "cl-opt": ["-arm-load-store-opt:bool=false"]},
    # Integer divisions, which some of these processors lack.
    attributes=("+vfp3", "+d32", "-hwdiv-arm", "-hwdiv"),
    # Unwinding tables name functions of an unwinder, which a program in C does not have.
    compiler_flags=(
        *("-mcpu=generic+v7a", "-fno-unwind-tables"),
        *("-mllvm", "-arm-load-store-opt=false"),
    ),
)
