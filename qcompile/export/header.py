"""The C header and the example program of a bundle."""

from collections.abc import Iterator, Sequence

from qcompile.export.accelerator import ERRORS as ACCELERATOR_ERRORS
from qcompile.export.accelerator import write_accelerator_header
from qcompile.export.network import Network
from qcompile.export.ports import Port, Ports
from qcompile.vta.segment import VtaSegment

# What the functions of a bundle return: name, value, and what NAME_error tells.
ERRORS = (
    ("OK", 0, "success"),
    ("ERROR_NULL_POINTER", -1, "an input, an output or the workspace is a null pointer"),
    ("ERROR_PROCESSOR", -2, "the processor lacks an instruction set of the target"),
    ("ERROR_WORKSPACE_ALIGNMENT", -3, "the workspace is not aligned to 64 bytes"),
    ("ERROR_THREADS", -4, "threads could not be started, or their number is not 1 to 256"),
)

HEADER = """\
/* {name}: a neural network compiled by qcompile for {target}.

   Link lib/lib{name}.a or lib/lib{name}.so, and -lm -lpthread. {features} */

#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Memory that a run needs, aligned to 64 bytes. Its content need not be set, and is not kept. */
#define {name}_WORKSPACE_BYTES {workspace_bytes}

{lengths}

/* What the functions return. {name}_error tells each in words. */
enum {{
{errors}
}};

const char *{name}_error(int32_t status);

/* Run the network once.

{ports}

   Arrays are dense and row-major; they may have any address, and none may overlap another.
   Several threads may run at the same time, each with a workspace and outputs of its own. */
int32_t {name}_run({parameters});
{variants}{accelerator}
/* How many threads a run uses, the caller among them: 1 at first. Runs that meet share no threads:
   the first uses them, the others run on their callers'. Waits for runs to end. */
int32_t {name}_set_threads(int32_t threads);
int32_t {name}_threads(void);

/* How long threads spin before they sleep: 0 at first. More is faster, and costs power. */
void {name}_set_spin(int32_t microseconds);

#ifdef __cplusplus
}}
#endif

#endif
"""

VARIANT = """
/* The variant {variant} of the network: the same weights, threads and rules. It needs the first
   {prefix}_WORKSPACE_BYTES of a workspace.

{ports} */
#define {prefix}_WORKSPACE_BYTES {workspace_bytes}
{lengths}
int32_t {entry}({parameters});
"""

EXAMPLE = """\
/* Runs {name} once on zeros and prints the first value of each output.

   cc src/main.c {sources}-Iinclude lib/lib{name}.a -lm -lpthread */

#include <stdio.h>

#include "{header}.h"

{buffers}
static unsigned char memory[{name}_WORKSPACE_BYTES + 63];

int main(void) {{
    void *workspace = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    int32_t status = {run};
    if (status != {name}_OK) {{
        fprintf(stderr, "{name}: %s\\n", {name}_error(status));
        return 1;
    }}
{prints}
    return 0;
}}
"""


def errors(segments: Sequence[VtaSegment]) -> tuple[tuple[str, int, str], ...]:
    """What the functions of a bundle with these segments return, as ERRORS."""
    return (*ERRORS, *ACCELERATOR_ERRORS) if segments else ERRORS


def write_header(
    name: str,
    networks: Sequence[Network],
    target: str,
    features: tuple[str, ...],
    segments: Sequence[VtaSegment] = (),
) -> str:
    """`include/NAME.h`. The first network is the one that NAME_run runs."""
    main, *others = networks
    return HEADER.format(
        name=name,
        guard=f"{name}_H",
        target=target,
        features=f"It needs a processor with\n   {_wrapped(features)}.",
        workspace_bytes=max(network.plan.workspace_bytes for network in networks),
        lengths="\n".join(_macros(name, main.ports)),
        errors=",\n".join(
            f"    /* {text} */\n    {name}_{label} = {value}"
            for label, value, text in errors(segments)
        ),
        accelerator=write_accelerator_header(name, segments) if segments else "",
        ports=_descriptions(main.ports),
        parameters=_signature(main),
        variants="".join(_variant(network) for network in others),
    )


def _variant(network: Network) -> str:
    """What the header tells of another network than the first."""
    lengths = list(_macros(network.prefix, network.ports))
    return VARIANT.format(
        variant=network.variant,
        prefix=network.prefix,
        entry=network.entry,
        workspace_bytes=network.plan.workspace_bytes,
        lengths="\n".join(lengths[1:]),
        ports=_descriptions(network.ports),
        parameters=_signature(network),
    )


def write_example(name: str, ports: Ports, accelerated: bool = False) -> str:
    """`src/main.c`, a C99 program that runs the network once; `accelerated`: with the driver."""
    everything = [*ports.inputs, *ports.outputs]
    arguments = ", ".join(port.c_name for port in everything)
    run = f"{name}_run({arguments}, workspace)"
    if accelerated:
        run = f"{name}_vta_open(NULL);\n    status = status != {name}_OK ? status : {run}"
    return EXAMPLE.format(
        name=name,
        header=f"{name}_vta_linux" if accelerated else name,
        sources=f"vta/driver/{name}_vta_linux.c -Ivta/driver " if accelerated else "",
        run=run,
        buffers="\n".join(
            f"static {p.c_type} {p.c_name}[{name}_{p.c_name}_LENGTH];" for p in everything
        ),
        prints="\n".join(
            f'    printf("{p.c_name}[0] = %g\\n", (double){p.c_name}[0]);' for p in ports.outputs
        ),
    )


def _signature(network: Network) -> str:
    indent = ",\n" + " " * len(f"int32_t {network.entry}(")
    return indent.join(
        [
            *(f"const {port.c_type} *{port.c_name}" for port in network.ports.inputs),
            *(f"{port.c_type} *{port.c_name}" for port in network.ports.outputs),
            "void *workspace",
        ]
    )


def _macros(name: str, ports: Ports) -> Iterator[str]:
    yield "/* Elements of each array; of integer codes, value = (code - ZERO_POINT) * SCALE. */"
    for port in (*ports.inputs, *ports.outputs):
        yield f"#define {name}_{port.c_name}_LENGTH {port.length}"
        scale, zero = port.quantization.get("scale"), port.quantization.get("zero_point")
        if isinstance(scale, int | float):
            yield f"#define {name}_{port.c_name}_SCALE {float(scale)!r}f"
        if isinstance(zero, int):
            yield f"#define {name}_{port.c_name}_ZERO_POINT {zero}"


def _descriptions(ports: Ports) -> str:
    inputs = [_described("in", port) for port in ports.inputs]
    return "\n".join([*inputs, *(_described("out", port) for port in ports.outputs)])


def _described(direction: str, port: Port) -> str:
    shape = " x ".join(map(str, port.type.shape)) or "scalar"
    quantization = "".join(f", {key} {value}" for key, value in port.quantization.items())
    original = "" if port.name == port.c_name else f" ({_comment(port.name)})"
    return f"   {direction:<3} {port.c_name}{original}: {port.type.dtype}, {shape}{quantization}"


def _comment(text: str) -> str:
    """Text that cannot end a comment or a line of it."""
    plain = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def _wrapped(words: tuple[str, ...]) -> str:
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 88:
            lines.append(line)
            line = ""
        line += f"{word} "
    return "\n   ".join(part.strip() for part in [*lines, line])
