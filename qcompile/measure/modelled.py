"""Times of kernels on a core that is not here, by its model: the code that a bundle runs.

One program runs every kernel twice; the second run, with its operands in the caches, counts. What
lies between these runs is step 0, and the kernels are the steps that follow.
"""

from collections.abc import Mapping
from pathlib import Path

from tvm import tirx

from qcompile.export.phases import Kernel
from qcompile.export.runtime_files import runtime
from qcompile.export.toolchain import Toolchain
from qcompile.measure.clock import build_kernels, operand_bytes, phase_calls
from qcompile.model_device import estimate
from qcompile.targets import Target

PROGRAM = """\
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *memory(size_t bytes) {{
    void *found = NULL;
    if (posix_memalign(&found, 64, bytes) != 0) {{
        abort();
    }}
    return memset(found, 0, bytes);
}}

{prototypes}

int main(void) {{
    MARK(0);
{calls}
    return 0;
}}
"""

KERNEL = """\
    {{
        void *a[] = {{{operands}}};
        {calls}
        MARK({step});
        {calls}
        MARK(0);
        for (size_t k = 0; k < sizeof a / sizeof *a; ++k) {{
            free(a[k]);
        }}
    }}"""


def modelled_seconds(
    functions: Mapping[str, tirx.PrimFunc], target: Target, folder: Path
) -> dict[str, float]:
    """How long one call of each scheduled function takes on the modelled core of `target`.

    They are compiled in `folder`. Raises ModelError when the model is impossible here.
    """
    kernels = build_kernels(functions, target, folder)
    (folder / "main.c").write_text(_program(functions, kernels))
    tools = Toolchain(target.architecture, folder, lambda text: None)
    tools.compile_program("main.c", "main.o", "-Wno-missing-prototypes")
    tools.link_program(["main.o", *(f"{name}.o" for name in kernels)], "kernels")
    found = estimate(folder / "kernels", target, warmup=0)
    cycles = {step.step: step.cycles for step in found.steps}
    return {name: cycles[1 + k] / target.clock_hz for k, name in enumerate(functions)}


def _program(functions: Mapping[str, tirx.PrimFunc], kernels: Mapping[str, Kernel]) -> str:
    prototypes, blocks = [], []
    for step, (name, function) in enumerate(functions.items(), start=1):
        own, calls = phase_calls(kernels[name])
        prototypes += own
        operands = ", ".join(f"memory({n})" for n in operand_bytes(function, kernels[name]))
        blocks.append(KERNEL.format(operands=operands, calls=" ".join(calls), step=step))
    program = PROGRAM.format(prototypes="\n".join(prototypes), calls="\n".join(blocks))
    return f"#define MOST_STEPS {len(functions)}\n{runtime('marks.c')}\n{program}"
