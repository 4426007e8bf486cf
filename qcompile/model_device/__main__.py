"""Print the modelled cycles of a program: `python -m qcompile.model_device EXE --target rpi4`."""

import argparse
import json
import sys

from qcompile.errors import QCompileError
from qcompile.model_device.estimate import Estimate, estimate
from qcompile.targets import load_processor


def main() -> int:
    """The exit code."""
    words = sys.argv[1:]
    own = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="python -m qcompile.model_device",
        description=__doc__,
        epilog="Arguments of the executable follow after `--`.",
    )
    parser.add_argument("executable")
    parser.add_argument("--target", required=True)
    parser.add_argument("--warmup", type=int, help="inferences that are not counted (marked steps)")
    parser.add_argument("--inferences", type=int, default=1, help="that follow, to divide by")
    parser.add_argument("--blocks", type=int, default=0, help="print so many costly blocks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words[:own])
    try:
        found = estimate(
            options.executable,
            load_processor(options.target),
            words[own + 1 :],
            warmup=options.warmup,
            inferences=options.inferences,
        )
    except QCompileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_fields(found)) if options.json else _text(found, options.blocks))
    return 0


def _fields(found: Estimate) -> dict[str, object]:
    return {
        "model_of": found.core.name,
        "target": found.target.name,
        "modelled_cycles": found.cycles,
        "instructions": found.instructions,
        "unmodelled": found.unmodelled,
        "steps": [
            {
                "step": step.step,
                "cycles": step.cycles,
                "instructions": step.instructions,
                "compute_cycles": step.compute_cycles,
                "stream_cycles": step.stream_cycles,
                "stall_cycles": step.stall_cycles,
                "accesses": step.memory.accesses,
                "missed_streamed": step.memory.streamed,
                "missed_alone": step.memory.alone,
            }
            for step in found.steps
        ],
    }


def _text(found: Estimate, blocks: int) -> str:
    lines = [
        f"model of {found.core.name} ({found.target.name}), not a measurement: "
        f"{found.cycles:,.0f} cycles, {found.instructions:,.0f} instructions",
        f"instructions without a scheduling model: {found.unmodelled:.2%}",
        f"{'step':>5} {'cycles':>14} {'compute':>14} {'streams':>12} {'stalls':>12} {'instr':>14}",
    ]
    for s in found.steps:
        lines.append(
            f"{s.step:5} {s.cycles:14,.0f} {s.compute_cycles:14,.0f} {s.stream_cycles:12,.0f} "
            f"{s.stall_cycles:12,.0f} {s.instructions:14,.0f}"
        )
    for one in found.blocks[:blocks]:
        lines.append(
            f"\n{one.block.address:#x}: {one.cycles:,.0f} cycles, {one.cycles_each:.1f} each, "
            f"{len(one.block.codes)} instructions"
        )
        lines += [f"    {text or '(unknown)'}" for text in one.block.texts]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
