"""Loops on registers as C, for programs of modelled cores."""

TURNS = 2000

PROGRAM = """
#include <stdint.h>
#include <stdlib.h>

__attribute__((unused)) static unsigned char marks[16];
#define MARK(step) __asm__ volatile("sttrb wzr, [%0]" : : "r"(marks + (step)) : "memory")
#define NOW_RUNS(k) MARK(1 + (k))
#define NOTHING_RUNS MARK(0)
#define LOOP(body) do { \\
        long turns = TURNS; \\
        __asm__ volatile("1:\\n" body "subs %0, %0, #1\\n b.ne 1b" : "+r"(turns) : : "cc", \\
            "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", \\
            "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", \\
            "v25", "v26", "v27", "v28", "v29", "v30", "v31"); \\
    } while (0)
"""

SUMS = range(16, 32)
FMLA = "".join(f'"fmla v{s}.4s, v0.4s, v1.4s\\n"' for s in SUMS)
SDOT = "".join(f'"sdot v{s}.4s, v0.16b, v1.16b\\n"' for s in SUMS)
CHAIN = "".join(
    f'"smull v{s - 14}.8h, v0.8b, v1.8b\\n smlal2 v{s - 14}.8h, v0.16b, v1.16b\\n"'
    f'"sadalp v{s}.4s, v{s - 14}.8h\\n"'
    for s in SUMS
    if s < 30
)
BITS = "".join(
    f'"eor v{s - 14}.16b, v0.16b, v1.16b\\n cnt v{s - 14}.16b, v{s - 14}.16b\\n"'
    f'"add v{s}.16b, v{s}.16b, v{s - 14}.16b\\n"'
    for s in SUMS
    if s < 30
)
