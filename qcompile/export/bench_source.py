"""The C file of bin/NAME_bench: the run functions, what they run on, and the program."""

import json
from collections.abc import Sequence

from qcompile.export.network import Network
from qcompile.export.ports import Port
from qcompile.export.runtime_files import runtime
from qcompile.export.source import write_source
from qcompile.targets import Target
from qcompile.vta.segment import VtaSegment

# How bench.c fills an array.
KINDS = {"float32": "f", "float64": "d", "float16": "h", "int8": "b", "uint8": "b"}

TABLES = """\
#include <stdio.h>

#define NAME "{name}"
#define WORKSPACE_BYTES {name}_WORKSPACE_BYTES
#define VARIANTS {variants}
#define MOST_ARRAYS {most_arrays}

struct port {{
    size_t bytes, elements;
    char kind;
}};

struct variant {{
    const char *name;
    const struct network *network;
    const struct port *ports;
    const char *const *calls;
    const int *call_of;
    int call_count;
}};
"""

VARIANT_TABLES = """\
static const struct port ports_{number}[] = {{
{ports}
    {{0, 0, 0}},
}};

static const char *const calls_{number}[] = {{
{calls}
    NULL,
}};

static const int call_of_{number}[] = {{{call_of}}};
"""


ACCELERATOR = """\
#include <errno.h>

#include "{name}_vta_linux.h"

#define OPEN_ACCELERATOR() {name}_vta_open(NULL)
"""


def write_bench(
    name: str,
    networks: Sequence[Network],
    target: Target,
    segments: Sequence[VtaSegment] = (),
) -> str:
    """The C99 source of the program that times the networks."""
    tables = TABLES.format(
        name=name,
        variants=len(networks),
        most_arrays=max(len(_arrays(network)) for network in networks),
    )
    rows = [
        f'    {{"{network.variant}", &network_{k}, ports_{k}, calls_{k}, call_of_{k}, '
        f"{len(network.plan.layers)}}},"
        for k, network in enumerate(networks)
    ]
    parts = [
        f"#define PROFILE\n#define MOST_STEPS {max(len(n.plan.steps) for n in networks)}",
        runtime("marks.c"),
        write_source(name, networks, target, segments),
        ACCELERATOR.format(name=name) if segments else "",
        tables,
        *(_variant_tables(number, network) for number, network in enumerate(networks)),
        "\n".join(["static const struct variant variants[] = {", *rows, "};", ""]),
        runtime("bench.c"),
    ]
    return "\n".join(parts)


def _variant_tables(number: int, network: Network) -> str:
    plan = network.plan
    return VARIANT_TABLES.format(
        number=number,
        ports="\n".join(map(_port, _arrays(network))),
        calls="\n".join(f"    {_c_string(json.dumps(layer))}," for layer in plan.layers),
        call_of=", ".join(map(str, [*(step.call for step in plan.steps), -1])),
    )


def _arrays(network: Network) -> tuple[Port, ...]:
    return *network.ports.inputs, *network.ports.outputs


def _port(port: Port) -> str:
    return f"    {{{port.type.bytes}, {port.length}, '{KINDS.get(port.type.dtype, 'i')}'}},"


def _c_string(text: str) -> str:
    """ASCII text in C; a question mark could begin a trigraph."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return f'"{escaped}"'
