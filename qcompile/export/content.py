"""What a bundle's libraries are made of: compiled kernels, plans, weights and segments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm

from qcompile.export.compile import compile_kernels
from qcompile.export.network import DEFAULT, Network, expect_distinct_names
from qcompile.export.plan import make_plan
from qcompile.export.ports import read_ports
from qcompile.export.program import read_program
from qcompile.export.weights import store_weights
from qcompile.targets import Target
from qcompile.vta.segment import VtaSegment


@dataclass(frozen=True)
class Content:
    """`objects` are the kernels' files; `segments` are what an accelerator computes."""

    name: str
    target: Target
    networks: Sequence[Network]
    objects: Sequence[str]
    weights: bytes
    segments: Sequence[VtaSegment]

    @property
    def workspace_bytes(self) -> int:
        return max(network.plan.workspace_bytes for network in self.networks)


def compile_content(
    modules: Mapping[str, tvm.IRModule],
    name: str,
    target: Target,
    work: Path,
    say: Callable[[str], None],
    jobs: int | None,
    segments: Sequence[VtaSegment] = (),
) -> Content:
    """Kernels as object files in `work`, and what the C files need to know."""
    programs = [read_program(mod) for mod in modules.values()]
    called = [segment for program in programs for segment in program.segments]
    assert called == [segment.name for segment in segments], f"main calls {called}"
    prefixes = [name if variant == DEFAULT else f"{name}_{variant}" for variant in modules]
    ports = [read_ports(mod, p, name) for mod, p in zip(modules.values(), programs, strict=True)]
    weights = store_weights(programs)
    kernels, objects = compile_kernels(weights.programs, name, target.tvm_target(), work, say, jobs)
    networks = [
        Network(
            variant=variant,
            prefix=prefixes[k],
            ports=ports[k],
            plan=make_plan(weights.programs[k], kernels[k], weights.offsets[k]),
            weight_bytes_alone=len(store_weights([programs[k]]).content),
        )
        for k, variant in enumerate(modules)
    ]
    expect_distinct_names(networks)
    return Content(name, target, networks, objects, weights.content, segments)
