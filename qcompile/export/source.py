"""The C file that calls the kernels: one translation unit with the runtime in it."""

from collections.abc import Sequence
from importlib.resources import files

from qcompile.export.header import ERRORS
from qcompile.export.plan import Plan, Pointer
from qcompile.export.ports import Ports
from qcompile.export.processor import processor_check

INCLUDES = """\
#define _GNU_SOURCE
#include "{name}.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define INPUTS {inputs}
#define OUTPUTS {outputs}
#define STEPS {steps}
#define ARENA_BYTES {arena_bytes}
#define THREAD_BYTES {thread_bytes}

{errors}

static const char *message(int32_t status) {{
    switch (status) {{
{messages}
        default: return "unknown status";
    }}
}}
"""

FUNCTIONS = """\
#define EXPORTED __attribute__((visibility("default")))

EXPORTED int32_t {name}_run({parameters}) {{
    const void *const inputs[] = {{{inputs}}};
    void *const outputs[] = {{{outputs}}};
    const struct call call = {{inputs, outputs, workspace}};
    return run(&call);
}}

EXPORTED const char *{name}_error(int32_t status) {{ return message(status); }}
EXPORTED int32_t {name}_set_threads(int32_t threads) {{ return set_threads(threads); }}
EXPORTED int32_t {name}_threads(void) {{ return get_threads(); }}
EXPORTED void {name}_set_spin(int32_t microseconds) {{ set_spin(microseconds); }}
"""

STEP = """\
static void step_{number}(const struct call *call, int32_t begin, int32_t end,
    unsigned char *scratch) {{
    (void)call, (void)scratch;
    {symbol}({arguments});
}}
"""


def write_source(name: str, ports: Ports, plan: Plan, features: tuple[str, ...]) -> str:
    """The C99 source of everything but kernels and weights."""
    head = INCLUDES.format(
        name=name,
        inputs=len(ports.inputs),
        outputs=len(ports.outputs),
        steps=len(plan.steps),
        arena_bytes=plan.arena.bytes,
        thread_bytes=plan.thread_bytes,
        errors="\n".join(f"#define {label} {name}_{label}" for label, _, _ in ERRORS),
        messages="\n".join(f'        case {label}: return "{text}";' for label, _, text in ERRORS),
    )
    inputs = [f"in{k}" for k in range(len(ports.inputs))]
    outputs = [f"out{k}" for k in range(len(ports.outputs))]
    parameters = [
        *(f"const {p.c_type} *{k}" for k, p in zip(inputs, ports.inputs, strict=True)),
        *(f"{p.c_type} *{k}" for k, p in zip(outputs, ports.outputs, strict=True)),
        "void *workspace",
    ]
    functions = FUNCTIONS.format(
        name=name,
        parameters=", ".join(parameters),
        inputs=", ".join([*inputs, "NULL"]),
        outputs=", ".join([*outputs, "NULL"]),
    )
    parts = [
        head,
        runtime("processor.c"),
        processor_check(features),
        runtime("pool.c"),
        _kernels(name, plan),
        _steps(name, plan),
        _copies(name, plan),
        runtime("run.c"),
        functions,
    ]
    return "\n".join(parts)


def write_weights(name: str, blob: str) -> str:
    """Assembly that puts the file `blob` into an object, as the hidden symbol NAME_weights."""
    return (
        f'.section .rodata.{name}_weights,"a",@progbits\n'
        f".globl {name}_weights\n.hidden {name}_weights\n.balign 64\n"
        f'{name}_weights:\n.incbin "{blob}"\n'
        '.section .note.GNU-stack,"",@progbits\n'
    )


def runtime(file: str) -> str:
    """A file of the C runtime."""
    return (files("qcompile.export.runtime") / file).read_text(encoding="utf-8")


def _kernels(name: str, plan: Plan) -> str:
    lines = ["#pragma GCC visibility push(hidden)", f"extern const unsigned char {name}_weights[];"]
    for symbol, count in {step.symbol: len(step.pointers) for step in plan.steps}.items():
        pointers = ", ".join(["const void *"] * count + ["int32_t", "int32_t"])
        lines.append(f"int32_t {symbol}({pointers});")
    return "\n".join([*lines, "#pragma GCC visibility pop\n"])


def _steps(name: str, plan: Plan) -> str:
    functions = [
        STEP.format(
            number=number,
            symbol=step.symbol,
            arguments=", ".join([*_addresses(name, step.pointers), "begin", "end"]),
        )
        for number, step in enumerate(plan.steps)
    ]
    table = [f"    {{step_{k}, {step.extent}}}," for k, step in enumerate(plan.steps)]
    return "\n".join(
        [*functions, "static const struct step steps[] = {", *table, "    {NULL, 0},", "};", ""]
    )


def _copies(name: str, plan: Plan) -> str:
    lines = []
    for copy in plan.copies:
        (source,) = _addresses(name, [copy.source])
        lines.append(f"    memcpy(call->outputs[{copy.output}], {source}, {copy.bytes});")
    return "\n".join(
        ["static void copy_outputs(const struct call *call) {", "    (void)call;", *lines, "}\n"]
    )


def _addresses(name: str, pointers: Sequence[Pointer]) -> list[str]:
    blocks = {
        "input": "call->inputs[{index}]",
        "output": "call->outputs[{index}]",
        "weights": name + "_weights + {offset}",
        "workspace": "call->workspace + {offset}",
        "thread": "scratch + {offset}",
    }
    return [blocks[p.block].format(index=p.index, offset=p.offset) for p in pointers]
