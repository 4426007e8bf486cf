"""The C file of bin/NAME_bench: the run functions, what they run on, and the program."""

import json

from qcompile.export.plan import Plan
from qcompile.export.ports import Port, Ports
from qcompile.export.source import runtime, write_source

# How bench.c fills an array.
KINDS = {"float32": "f", "float64": "d", "float16": "h", "int8": "b", "uint8": "b"}

TABLES = """\
#include <stdio.h>

#define NAME "{name}"
#define WORKSPACE_BYTES {name}_WORKSPACE_BYTES
#define CALLS {count}

struct port {{
    size_t bytes, elements;
    char kind;
}};

static const struct port ports[] = {{
{ports}
    {{0, 0, 0}},
}};

static const char *const calls[] = {{
{calls}
    NULL,
}};

static const int call_of[] = {{{call_of}}};
"""


def write_bench(name: str, ports: Ports, plan: Plan, features: tuple[str, ...]) -> str:
    """The C99 source of the program that times the network."""
    tables = TABLES.format(
        name=name,
        count=len(plan.layers),
        ports="\n".join(map(_port, (*ports.inputs, *ports.outputs))),
        calls="\n".join(f"    {_c_string(json.dumps(layer))}," for layer in plan.layers),
        call_of=", ".join(map(str, [*(step.call for step in plan.steps), -1])),
    )
    run = write_source(name, ports, plan, features)
    return "\n".join(["#define PROFILE", run, tables, runtime("bench.c")])


def _port(port: Port) -> str:
    return f"    {{{port.type.bytes}, {port.length}, '{KINDS.get(port.type.dtype, 'i')}'}},"


def _c_string(text: str) -> str:
    """ASCII text in C; a question mark could begin a trigraph."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return f'"{escaped}"'
