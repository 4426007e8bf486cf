"""Where every operand of every step lives: the caller's buffers, the weights or the workspace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qcompile.export.arena import ALIGNMENT, Arena, Lifetime, plan_arena, stack
from qcompile.export.phases import Kernel, Operand
from qcompile.export.program import Call, Program, Storage


@dataclass(frozen=True)
class Pointer:
    """`offset` bytes into a block: input or output `index`, the weights, the workspace, or the
    scratch memory of the running thread."""

    block: Literal["input", "output", "weights", "workspace", "thread"]
    index: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Step:
    """One use of a phase's C function, over `extent` iterations, by the kernel call `call`."""

    symbol: str
    call: int
    pointers: tuple[Pointer, ...]
    extent: int


@dataclass(frozen=True)
class Copy:
    """Bytes of an output that no kernel writes in place: it is an input, a constant or a double."""

    source: Pointer
    output: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """All that a run does, in order, and the layer of each kernel call.

    The workspace is the arena, then the scratch memory of the calling thread.
    """

    steps: tuple[Step, ...]
    layers: tuple[str, ...]
    copies: tuple[Copy, ...]
    arena: Arena
    thread_bytes: int

    @property
    def workspace_bytes(self) -> int:
        return max(self.arena.bytes + self.thread_bytes, ALIGNMENT)


def make_plan(
    program: Program, kernels: Mapping[str, Kernel], constant_offsets: Sequence[int]
) -> Plan:
    """The plan of a program whose PrimFuncs became `kernels`, by name.

    constant_offsets: where each constant lies in the weights, in bytes.
    """
    return _Planner(program, kernels, constant_offsets).plan()


class _Planner:
    def __init__(
        self, program: Program, kernels: Mapping[str, Kernel], constant_offsets: Sequence[int]
    ) -> None:
        self.program = program
        self.kernels = kernels
        self.constant_offsets = constant_offsets
        self.direct: dict[Storage, int] = {}
        for k, (storage, _) in enumerate(program.outputs):
            if storage.kind == "buffer":
                self.direct.setdefault(storage, k)
        self.lifetimes: dict[Storage | tuple[int, int], list[int]] = {}

    def plan(self) -> Plan:
        self._measure_lifetimes()
        tensors = [
            Lifetime(self._bytes(tensor), min(uses), max(uses))
            for tensor, uses in self.lifetimes.items()
        ]
        arena = plan_arena(tensors)
        offsets = dict(zip(self.lifetimes, arena.offsets, strict=True))
        self.pointers = {
            tensor: Pointer("workspace", offset=offset) for tensor, offset in offsets.items()
        }
        thread_sizes = [stack(kernel.thread_bytes)[1] for kernel in self.kernels.values()]
        return Plan(
            steps=tuple(self._steps()),
            layers=tuple(call.layer for call in self.program.calls),
            copies=tuple(self._copies()),
            arena=arena,
            thread_bytes=max(thread_sizes, default=0),
        )

    def _measure_lifetimes(self) -> None:
        """The steps that use each tensor of the arena: buffers, and (call, number) scratch."""
        step = 0
        for number, call in enumerate(self.program.calls):
            for phase in self.kernels[call.function].phases:
                for operand in phase.operands:
                    tensor = self._tensor(number, call, operand)
                    if tensor is not None:
                        self.lifetimes.setdefault(tensor, []).append(step)
                step += 1

    def _tensor(
        self, number: int, call: Call, operand: Operand
    ) -> Storage | tuple[int, int] | None:
        """What the operand needs of the arena, or None."""
        if operand.kind == "scratch":
            return number, operand.index
        if operand.kind == "thread":
            return None
        storage = call.operands[operand.index]
        return storage if storage.kind == "buffer" and storage not in self.direct else None

    def _bytes(self, tensor: Storage | tuple[int, int]) -> int:
        if isinstance(tensor, Storage):
            return self.program.buffer_bytes[tensor.index]
        number, index = tensor
        return self.kernels[self.program.calls[number].function].scratch_bytes[index]

    def _steps(self) -> list[Step]:
        return [
            Step(
                symbol=phase.symbol,
                call=number,
                pointers=tuple(self._operand(number, call, o) for o in phase.operands),
                extent=phase.extent,
            )
            for number, call in enumerate(self.program.calls)
            for phase in self.kernels[call.function].phases
        ]

    def _operand(self, number: int, call: Call, operand: Operand) -> Pointer:
        if operand.kind == "thread":
            offsets, _ = stack(self.kernels[call.function].thread_bytes)
            return Pointer("thread", offset=offsets[operand.index])
        if operand.kind == "scratch":
            return self.pointers[number, operand.index]
        return self._storage(call.operands[operand.index])

    def _storage(self, storage: Storage) -> Pointer:
        if storage.kind == "input":
            return Pointer("input", index=storage.index)
        if storage.kind == "constant":
            return Pointer("weights", offset=self.constant_offsets[storage.index])
        if storage in self.direct:
            return Pointer("output", index=self.direct[storage])
        return self.pointers[storage]

    def _copies(self) -> list[Copy]:
        return [
            Copy(self._storage(storage), k, type_.bytes)
            for k, (storage, type_) in enumerate(self.program.outputs)
            if self.direct.get(storage) != k
        ]
