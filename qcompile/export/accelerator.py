"""What a bundle's C code knows of the segments that VTA computes.

NAME_run calls one hook for each segment, a `NAME_vta_hook` that the application sets: the driver of
vta/driver/ on a board, a function of Python in front of the simulator. A call of a segment is a
step like those of kernels; its function is written here instead of compiled from a PrimFunc.
"""

from collections.abc import Mapping, Sequence

from tvm import tirx

from qcompile.export.phases import Kernel, Operand, Phase
from qcompile.export.program import Program, segment_of
from qcompile.vta.segment import VtaSegment

# As `header.ERRORS`, of bundles with segments: the first by NAME_run, the others by hooks.
ERRORS = (
    ("ERROR_VTA_MISSING", -5, "no accelerator is set: NAME_set_vta, or NAME_vta_open"),
    ("ERROR_VTA_REGISTERS", -6, "the accelerator's registers cannot be opened or mapped"),
    ("ERROR_VTA_MEMORY", -7, "the contiguous memory cannot be opened or mapped"),
    ("ERROR_VTA_ADDRESS", -8, "the contiguous memory has no address that the instructions reach"),
    ("ERROR_VTA_SPACE", -9, "the contiguous memory is smaller than the segments"),
    ("ERROR_VTA_TIMEOUT", -10, "the accelerator did not finish in time"),
    ("ERROR_VTA_FAILED", -11, "the accelerator's simulator failed"),
)

FAILED = ERRORS[-1][1]  # what a hook returns that has no better word

HEADER = """
/* VTA computes {count} of the network: {segments}.

   {name}_run calls `run` for each in turn, on its caller's thread; `segment` is its number, from 0;
   `inputs` and `outputs` are in VTA's layout (vta/NN_name/manifest.json), of the lengths that
   {name}_vta_segments tells. It returns 0, or a negative code that {name}_run then returns too.
   Set it before the first run, and not during runs; vta/driver/ holds one for Linux. */
typedef int32_t (*{name}_vta_hook)(void *context, int32_t segment, const void *const *inputs,
                                   void *const *outputs);
void {name}_set_vta({name}_vta_hook run, void *context);

/* The segments' programs. An image is memory whose byte 0 the instructions know as address 0x1000:
   weights and micro-ops inside, inputs zero. Addresses are of the same count. */
#define {name}_VTA_SEGMENTS {length}

struct {name}_vta_tensor {{
    uint32_t address, bytes;
}};

struct {name}_vta_segment {{
    const char *name;
    const unsigned char *instructions; /* 16 bytes each */
    const unsigned char *image;
    uint32_t instruction_count, image_bytes;
    const struct {name}_vta_tensor *inputs, *outputs;
    int32_t input_count, output_count;
    uint32_t element_bytes[5]; /* of micro-ops, weights, inputs, accumulators, outputs */
}};

extern const struct {name}_vta_segment {name}_vta_segments[{name}_VTA_SEGMENTS];
"""

HOOK = """\
static struct {{
    {name}_vta_hook run;
    void *context;
}} accelerator;

EXPORTED void {name}_set_vta({name}_vta_hook run, void *context) {{
    accelerator.run = run;
    accelerator.context = context;
}}

static int32_t run_segment(int32_t number, const void *const *inputs, void *const *outputs) {{
    return accelerator.run == NULL
        ? ERROR_VTA_MISSING : accelerator.run(accelerator.context, number, inputs, outputs);
}}
"""

SEGMENT = """\
static int32_t {symbol}({parameters}, int32_t begin, int32_t end) {{
    const void *const inputs[] = {{{inputs}}};
    void *const outputs[] = {{{outputs}}};
    (void)begin, (void)end;
    return run_segment({number}, inputs, outputs);
}}
"""

TABLE = """\
    {{{text}, {name}_vta_code_{k}, {name}_vta_image_{k}, {instructions}, {image_bytes}u,
     vta_inputs_{k}, vta_outputs_{k}, {inputs}, {outputs}, {{{element_bytes}}}}},"""


def segment_kernel(function: tirx.PrimFunc, program: Program, name: str) -> Kernel:
    """The kernel of a segment's PrimFunc: one step, whose C function `write_hook` writes."""
    segment = segment_of(function)
    assert segment is not None
    operands = tuple(Operand("parameter", k) for k in range(len(function.params)))
    symbol = segment_symbol(name, program.segments.index(segment))
    return Kernel((Phase(symbol, function, operands, extent=1),), (), ())


def segment_symbol(name: str, number: int) -> str:
    """The C function that calls the hook for a segment."""
    return f"{name}_segment_{number}"


def write_accelerator_header(name: str, segments: Sequence[VtaSegment]) -> str:
    """What the header tells of the segments."""
    count = len(segments)
    return HEADER.format(
        name=name,
        length=count,
        count="one segment" if count == 1 else f"{count} segments",
        segments=", ".join(segment.folder for segment in segments),
    )


def write_hook(name: str, segments: Sequence[VtaSegment]) -> str:
    """C: the hook, and the steps that call it."""
    functions = [_step(name, k, segment) for k, segment in enumerate(segments)]
    return "\n".join([HOOK.format(name=name), *functions])


def _step(name: str, number: int, segment: VtaSegment) -> str:
    count, total = len(segment.inputs), len(segment.inputs) + len(segment.outputs)
    pointers = [f"p{k}" for k in range(total)]
    return SEGMENT.format(
        symbol=segment_symbol(name, number),
        number=number,
        parameters=", ".join(f"const void *{pointer}" for pointer in pointers),
        inputs=", ".join(pointers[:count]),
        outputs=", ".join(f"(void *){pointer}" for pointer in pointers[count:]),
    )


def write_tables(name: str, segments: Sequence[VtaSegment]) -> str:
    """A C file: the table of the segments, over what `write_images` assembles."""
    lines = [f'#include "{name}.h"\n\n#pragma GCC visibility push(hidden)']
    for k in range(len(segments)):
        lines.append(f"extern const unsigned char {name}_vta_code_{k}[], {name}_vta_image_{k}[];")
    lines.append("#pragma GCC visibility pop")
    for k, segment in enumerate(segments):
        for side in ("inputs", "outputs"):
            tensors = [segment.tensor(tensor) for tensor in getattr(segment, side)]
            rows = ", ".join(f"{{{t.address}u, {t.bytes}u}}" for t in tensors)
            lines.append(f"static const struct {name}_vta_tensor vta_{side}_{k}[] = {{{rows}}};")
    lines.append(
        f'__attribute__((visibility("default"))) const struct {name}_vta_segment '
        f"{name}_vta_segments[{name}_VTA_SEGMENTS] = {{"
    )
    for k, segment in enumerate(segments):
        lines.append(
            TABLE.format(
                name=name,
                k=k,
                text=f'"{segment.folder}"',
                instructions=segment.instruction_count,
                image_bytes=len(segment.image),
                inputs=len(segment.inputs),
                outputs=len(segment.outputs),
                element_bytes=", ".join(map(str, segment.element_bytes)),
            )
        )
    return "\n".join([*lines, "};", ""])


def write_images(name: str, files: Mapping[str, str]) -> str:
    """Assembly that puts the files into an object, as hidden symbols NAME_vta_..."""
    parts = [
        f'.section .rodata.{name}_{symbol},"a",%progbits\n'
        f".globl {name}_{symbol}\n.hidden {name}_{symbol}\n.balign 64\n"
        f'{name}_{symbol}:\n.incbin "{file}"\n'
        for symbol, file in files.items()
    ]
    return "".join([*parts, '.section .note.GNU-stack,"",%progbits\n'])
