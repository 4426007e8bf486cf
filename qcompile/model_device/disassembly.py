"""Instructions as text that llvm-mca reads."""

import re
import subprocess
from collections.abc import Sequence

from qcompile.errors import ModelError
from qcompile.model_device.emulate import find_tool

INSTALL = "`apt-get install llvm-19` has it (or apt.llvm.org)"

CONDITIONAL = r"b\.\w+|cbn?z|tbn?z|b(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"
CALLS_AND_JUMPS = r"bl?|br|blr|bx|blx|ret|svc"
# 32-bit code also jumps by writing to its program counter.
WRITES_PC = r"(pop|ldm\w*)\s.*\bpc\b|(ldr|mov|add|sub)\w*\s+pc,.*"


def all_features(triple: str) -> str:
    """LLVM's option for every instruction that processors of the triple may have."""
    # 32-bit code means other things when features of later architectures are on.
    return "-mattr=+v7,+neon,+vfp4,+hwdiv-arm" if triple.startswith("arm") else "-mattr=+all"


def disassemble(codes: Sequence[bytes], triple: str) -> dict[bytes, str | None]:
    """The text of each instruction, by its bytes; None for one that LLVM does not know."""
    lines = "\n".join(" ".join(f"0x{byte:02x}" for byte in code) for code in codes)
    tool = find_tool("llvm-mc-19", INSTALL)
    command = [tool, "--disassemble", f"--triple={triple}", all_features(triple)]
    done = subprocess.run(command, input=lines + "\n", capture_output=True, text=True)
    unknown = {int(n) - 1 for n in re.findall(r"<stdin>:(\d+):\d+: warning: in", done.stderr)}
    texts = [line.strip().replace("\t", " ") for line in done.stdout.splitlines()]
    texts = [text for text in texts if text and not text.startswith(".")]
    known = [code for k, code in enumerate(codes) if k not in unknown]
    if done.returncode != 0 or len(texts) != len(known):
        raise ModelError(f"{tool}: {done.stderr.strip() or 'gave another number of lines'}")
    return {**dict.fromkeys(codes), **dict(zip(known, texts, strict=True))}


def is_branch(text: str) -> bool:
    """Whether the program may go on elsewhere."""
    name = text.split(" ")[0]
    return bool(
        re.fullmatch(f"{CONDITIONAL}|{CALLS_AND_JUMPS}", name) or re.fullmatch(WRITES_PC, text)
    )


def is_conditional(text: str) -> bool:
    """Whether a branch may also not be taken."""
    return bool(re.fullmatch(CONDITIONAL, text.split(" ")[0]))
