"""The C file that calls the kernels: one translation unit with the runtime in it."""

from collections.abc import Sequence, Set

from qcompile.export.accelerator import segment_symbol, write_hook
from qcompile.export.header import errors
from qcompile.export.network import Network
from qcompile.export.plan import Plan, Pointer
from qcompile.export.processor import processor_check
from qcompile.export.runtime_files import runtime
from qcompile.targets import Target
from qcompile.vta.segment import VtaSegment

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

#define THREAD_BYTES {thread_bytes}

{errors}

static const char *message(int32_t status) {{
    switch (status) {{
{messages}
        default: return "unknown status";
    }}
}}
"""

EXPORTED = '#define EXPORTED __attribute__((visibility("default")))\n'

FUNCTIONS = """\
EXPORTED const char *{name}_error(int32_t status) {{ return message(status); }}
EXPORTED int32_t {name}_set_threads(int32_t threads) {{ return set_threads(threads); }}
EXPORTED int32_t {name}_threads(void) {{ return get_threads(); }}
EXPORTED void {name}_set_spin(int32_t microseconds) {{ set_spin(microseconds); }}
"""

ENTRY = """\
EXPORTED int32_t {entry}({parameters}) {{
    const void *const inputs[] = {{{inputs}}};
    void *const outputs[] = {{{outputs}}};
    const struct call call = {{inputs, outputs, workspace}};
    return run(&network_{number}, &call);
}}
"""

STEP = """\
static int32_t step_{number}(const struct call *call, int32_t begin, int32_t end,
    unsigned char *scratch) {{
    (void)call, (void)scratch;
    return {symbol}({arguments});
}}
"""


NETWORK = """\
static const struct network network_{number} = {{
    steps_{number}, copy_outputs_{number}, {steps}, {inputs}, {outputs}, {arena_bytes},
}};
"""


def write_source(
    name: str,
    networks: Sequence[Network],
    target: Target,
    segments: Sequence[VtaSegment] = (),
) -> str:
    """The C99 source of everything but kernels and weights."""
    codes = errors(segments)
    head = INCLUDES.format(
        name=name,
        thread_bytes=max(network.plan.thread_bytes for network in networks),
        errors="\n".join(f"#define {label} {name}_{label}" for label, _, _ in codes),
        messages="\n".join(f'        case {label}: return "{text}";' for label, _, text in codes),
    )
    parts = [
        head,
        processor_check(target.architecture, target.features),
        runtime("pool.c"),
        runtime("run.c"),
        EXPORTED,
        _kernels(name, networks, {segment_symbol(name, k) for k in range(len(segments))}),
        write_hook(name, segments) if segments else "",
        *(_network(name, number, network) for number, network in enumerate(networks)),
        FUNCTIONS.format(name=name),
        *(_entry(number, network) for number, network in enumerate(networks)),
    ]
    return "\n".join(parts)


def write_weights(name: str, blob: str) -> str:
    """Assembly that puts the file `blob` into an object, as the hidden symbol NAME_weights."""
    return (
        f'.section .rodata.{name}_weights,"a",%progbits\n'
        f".globl {name}_weights\n.hidden {name}_weights\n.balign 64\n"
        f'{name}_weights:\n.incbin "{blob}"\n'
        '.section .note.GNU-stack,"",%progbits\n'
    )


def _kernels(name: str, networks: Sequence[Network], own: Set[str]) -> str:
    """Declarations of what objects hold: all but the functions `own`, which are C."""
    lines = ["#pragma GCC visibility push(hidden)", f"extern const unsigned char {name}_weights[];"]
    steps = [step for n in networks for step in n.plan.steps if step.symbol not in own]
    for symbol, count in {step.symbol: len(step.pointers) for step in steps}.items():
        pointers = ", ".join(["const void *"] * count + ["int32_t", "int32_t"])
        lines.append(f"int32_t {symbol}({pointers});")
    return "\n".join([*lines, "#pragma GCC visibility pop\n"])


def _network(name: str, number: int, network: Network) -> str:
    """The steps and the table of one network."""
    plan, ports = network.plan, network.ports
    table = NETWORK.format(
        number=number,
        steps=len(plan.steps),
        inputs=len(ports.inputs),
        outputs=len(ports.outputs),
        arena_bytes=plan.arena.bytes,
    )
    return "\n".join([_steps(name, number, plan), _copies(name, number, plan), table])


def _entry(number: int, network: Network) -> str:
    """The function that runs one network."""
    ports = network.ports
    inputs = [f"in{k}" for k in range(len(ports.inputs))]
    outputs = [f"out{k}" for k in range(len(ports.outputs))]
    parameters = [
        *(f"const {p.c_type} *{k}" for k, p in zip(inputs, ports.inputs, strict=True)),
        *(f"{p.c_type} *{k}" for k, p in zip(outputs, ports.outputs, strict=True)),
        "void *workspace",
    ]
    return ENTRY.format(
        entry=network.entry,
        number=number,
        parameters=", ".join(parameters),
        inputs=", ".join([*inputs, "NULL"]),
        outputs=", ".join([*outputs, "NULL"]),
    )


def _steps(name: str, network: int, plan: Plan) -> str:
    functions = [
        STEP.format(
            number=f"{network}_{k}",
            symbol=step.symbol,
            arguments=", ".join([*_addresses(name, step.pointers), "begin", "end"]),
        )
        for k, step in enumerate(plan.steps)
    ]
    rows = [f"    {{step_{network}_{k}, {step.extent}}}," for k, step in enumerate(plan.steps)]
    table = [f"static const struct step steps_{network}[] = {{", *rows, "    {NULL, 0},", "};", ""]
    return "\n".join([*functions, *table])


def _copies(name: str, network: int, plan: Plan) -> str:
    lines = []
    for copy in plan.copies:
        (source,) = _addresses(name, [copy.source])
        lines.append(f"    memcpy(call->outputs[{copy.output}], {source}, {copy.bytes});")
    head = f"static void copy_outputs_{network}(const struct call *call) {{"
    return "\n".join([head, "    (void)call;", *lines, "}\n"])


def _addresses(name: str, pointers: Sequence[Pointer]) -> list[str]:
    blocks = {
        "input": "call->inputs[{index}]",
        "output": "call->outputs[{index}]",
        "weights": name + "_weights + {offset}",
        "workspace": "call->workspace + {offset}",
        "thread": "scratch + {offset}",
    }
    return [blocks[p.block].format(index=p.index, offset=p.offset) for p in pointers]
