"""The program of a batch, which compares the outputs of its candidates and times them."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from qcompile.errors import ToolchainError
from qcompile.export.runtime_files import runtime
from qcompile.export.toolchain import Toolchain
from qcompile.targets.architecture import Architecture
from qcompile.tuning.batch import Batch, Candidate
from qcompile.tuning.outcomes import Failure
from qcompile.tuning.worker_process import Built

LINE_BYTES, PAGE_BYTES = 64, 4096
# Operands k of a candidate begin so far behind the begin of a page: operands at equal distances
# from it would be in each other's way in the caches.
STAGGER_BYTES = 17 * LINE_BYTES

HEAD = """\
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define THREADS {threads}
#define THREAD_BYTES {thread_bytes}
#if defined(__x86_64__)
#define RELAX "pause"
#else
#define RELAX "yield"
#endif
{pool}

#define CANDIDATES {candidates}
#define MOST_OPERANDS {most_operands}
#define WORK_BYTES {work_bytes}
#define EXPECTED_BYTES {expected_bytes}

enum kind {{ GIVEN, OUTPUT, FLOATS, SCRATCH }};

struct operand {{
    enum kind kind;
    size_t place, bytes;
}};

struct candidate {{
    const struct step *steps;
    int step_count;
    const struct operand *operands;
    int count;
}};
"""

STEP = """\
static int32_t step_{number}_{k}(const struct call *call, int32_t begin, int32_t end,
    unsigned char *scratch) {{
    void *const *a = call->outputs;
    (void)a, (void)scratch;
    return {call};
}}
"""

CANDIDATE = """\
{prototypes}
{functions}
static const struct step steps_{number}[] = {{{steps}}};
static const struct operand operands_{number}[] = {{{operands}}};
"""


@dataclass(frozen=True)
class Program:
    """A static executable, the file that it reads, and candidates that could not be linked."""

    executable: bytes
    operands: bytes
    failures: dict[int, Failure]


def make_program(
    batch: Batch, numbers: Sequence[int], architecture: Architecture, threads: int = 1
) -> Program:
    """The program of the reference and the candidates of these numbers, on so many threads."""
    chosen = [0, *numbers]
    failures: dict[int, Failure] = {}
    while True:
        places, content = _stored([batch.all[number] for number in chosen])
        source = _source(batch, dict(zip(chosen, places, strict=True)), threads)
        try:
            return Program(_link(batch, chosen, source, architecture), content, failures)
        except ToolchainError as error:
            guilty = [n for n in chosen[1:] if _names(batch.all[n].built.symbol, str(error))]
            if not guilty:
                raise
            failures |= {number: Failure("link", str(error)) for number in guilty}
            chosen = [number for number in chosen if number not in failures]


def _names(symbol: str, message: str) -> bool:
    """Whether the linker complains of the object of that symbol."""
    return re.search(rf"\b{re.escape(symbol)}(\.o|_p\d+)\b", message) is not None


def _link(batch: Batch, numbers: Sequence[int], source: str, architecture: Architecture) -> bytes:
    with tempfile.TemporaryDirectory(prefix="qcompile-") as folder:
        tools = Toolchain(architecture, Path(folder), lambda message: None)
        Path(folder, "batch.c").write_text(source)
        tools.compile_program("batch.c", "batch.o", "-Wno-missing-prototypes")
        objects: dict[str, bytes] = {}
        for built in (batch.all[number].built for number in numbers):
            first = objects.setdefault(f"{built.symbol}.o", built.content)
            assert first == built.content, f"two candidates are called {built.symbol}"
            Path(folder, f"{built.symbol}.o").write_bytes(built.content)
        tools.link_program(["batch.o", *objects], "batch")
        return Path(folder, "batch").read_bytes()


def _stored(candidates: Sequence[Candidate]) -> tuple[list[list[int]], bytes]:
    """Where the operands of each candidate begin, and the file, which has equal ones once."""
    contents = {
        (number, k): array.tobytes()
        for number, candidate in enumerate(candidates)
        for k, array in enumerate(candidate.operands)
    }
    places: dict[tuple[int, int], int] = {}
    stored: list[tuple[bytes, int]] = []
    file = bytearray()
    for key, content in sorted(contents.items(), key=lambda item: -len(item[1])):
        found = next((place for other, place in stored if other.startswith(content)), None)
        if found is None:
            page = -(-len(file) // PAGE_BYTES) * PAGE_BYTES
            found = page + key[1] * STAGGER_BYTES % PAGE_BYTES
            file += bytes(found - len(file)) + content
            stored.append((content, found))
        places[key] = found
    operands = [range(len(candidate.operands)) for candidate in candidates]
    return [[places[number, k] for k in own] for number, own in enumerate(operands)], bytes(file)


def _source(batch: Batch, places: dict[int, list[int]], threads: int) -> str:
    """The C file of the program; `places`: of the given operands of the candidates in it."""
    tables, rows, work_bytes, most = [], [], 0, 0
    for number, given in places.items():
        operands, used = _operands(batch.all[number], given, batch.tolerance > 0)
        work_bytes, most = max(work_bytes, used), max(most, len(operands))
        tables.append(_table(number, batch.all[number].built, operands))
        steps = f"steps_{number}, {len(batch.all[number].built.calls)}"
        rows.append(f"    [{number}] = {{{steps}, operands_{number}, {len(operands)}}},")
    outputs = batch.reference.built.operand_bytes[len(batch.reference.operands) :]
    head = HEAD.format(
        threads=threads,
        thread_bytes=max(batch.all[number].built.thread_bytes for number in places),
        pool=runtime("pool.c"),
        candidates=len(batch.all),
        most_operands=most,
        work_bytes=work_bytes,
        expected_bytes=sum(_lines(size) for size in outputs),
    )
    candidates = ["static const struct candidate candidates[CANDIDATES] = {", *rows, "};\n"]
    program = (files("qcompile.tuning") / "batch.c").read_text(encoding="utf-8")
    return "\n".join([head, *tables, *candidates, program])


def _operands(
    candidate: Candidate, given: Sequence[int], floats: bool
) -> tuple[list[tuple[str, int, int]], int]:
    """Kind, place and size of each operand, and how much memory those take that it writes."""
    built, found, used = candidate.built, [], 0
    for k, size in enumerate(built.operand_bytes):
        if k < len(given):
            assert candidate.operands[k].nbytes == size, (built.symbol, k)
            found.append(("GIVEN", given[k], size))
            continue
        kind = "SCRATCH"
        if k < len(built.dtypes):
            kind = "FLOATS" if floats and built.dtypes[k] == "float32" else "OUTPUT"
        place = -(-used // PAGE_BYTES) * PAGE_BYTES + k * STAGGER_BYTES % PAGE_BYTES
        found.append((kind, place, size))
        used = place + size
    return found, used


def _table(number: int, built: Built, operands: Sequence[tuple[str, int, int]]) -> str:
    functions = [STEP.format(number=number, k=k, call=c) for k, c in enumerate(built.calls)]
    steps = (f"{{step_{number}_{k}, {extent}}}" for k, extent in enumerate(built.extents))
    return CANDIDATE.format(
        number=number,
        prototypes="\n".join(built.prototypes),
        functions="\n".join(functions),
        steps=", ".join(steps),
        operands=", ".join(f"{{{kind}, {place}, {size}}}" for kind, place, size in operands),
    )


def _lines(size: int) -> int:
    return -(-size // LINE_BYTES) * LINE_BYTES
