"""A network of one hand-written segment between two kernels, and what NumPy says it computes."""

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op
from tvm.script import tirx as T  # noqa: N812

from qcompile.export.accelerated import Accelerator
from qcompile.export.program import SEGMENT
from qcompile.schedules import schedule
from qcompile.targets import load_target
from qcompile.targets.vta.config import DEFAULT, Buffer
from qcompile.targets.vta.encoding import encode, encode_uops
from qcompile.targets.vta.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Load,
    Store,
    Tokens,
    Uop,
)
from qcompile.targets.vta.target import Registers
from qcompile.vta.segment import IMAGE_ADDRESS, SegmentLayer, SegmentTensor, VtaSegment

UOPS, X, Y, WGT, END = 0x1000, 0x1040, 0x1080, 0x1200, 0x1300
WEIGHTS = np.random.default_rng(3).integers(-128, 128, (16, 16), dtype="int8")
SHIFT = 9


def reference(x: np.ndarray) -> np.ndarray:
    """x: (1, 16) int8. What the network gives."""
    codes = (x + np.int8(1)).astype("int64")
    sums = codes @ WEIGHTS.T.astype("int64")
    y = np.clip(sums >> SHIFT, 0, 100).astype("int8")
    return y - np.int8(3)


def segment(name: str = "dense one") -> VtaSegment:
    """y = clip(WEIGHTS x >> SHIFT, 0, 100), of one element each."""
    loops = {"uops": (0, 1), "extents": (1, 1), "dst": (0, 0), "src": (0, 0)}
    instructions = [
        Load(Buffer.UOP, 0, UOPS // 4, 1, 1, 1),
        Load(Buffer.INP, 0, X // 16, 1, 1, 1),
        Load(Buffer.WGT, 0, WGT // 256, 1, 1, 1, tokens=Tokens(push_next=True)),
        Gemm(**loops, wgt=(0, 0), reset=True),
        Gemm(**loops, wgt=(0, 0), tokens=Tokens(pop_prev=True)),
        Alu(AluOp.SHR, **loops, immediate=SHIFT),
        Alu(AluOp.MAX, **loops, immediate=0),
        Alu(AluOp.MIN, **loops, immediate=100, tokens=Tokens(push_next=True)),
        Store(0, Y // 16, 1, 1, 1, tokens=Tokens(pop_prev=True, push_prev=True)),
        Load(Buffer.UOP, 0, 0, 0, 0, 0, tokens=Tokens(pop_next=True)),
        Finish(),
    ]
    image = np.zeros(END - IMAGE_ADDRESS, "uint8")
    uops = np.frombuffer(encode_uops(DEFAULT, [Uop(0, 0, 0)]), "uint8")
    image[UOPS - IMAGE_ADDRESS :][: len(uops)] = uops
    image[WGT - IMAGE_ADDRESS :][:256] = WEIGHTS.view("uint8").reshape(-1)

    def tensor(name: str, role: str, address: int) -> SegmentTensor:
        return SegmentTensor(
            name=name,
            role=role,
            address=address,
            bytes=16,
            shape=(1, 1, 1, 16),
            blocks=(1, 1, 1, 1, 1, 1, 16),
            scalar_bits=8,
            dtype="codes",
            offset=0,
            low=-128,
            high=127,
        )

    return VtaSegment(
        number=0,
        name=name,
        config=DEFAULT,
        port_bytes=8,
        clock_hz=100e6,
        instructions=encode(DEFAULT, instructions),
        image=image.tobytes(),
        tensors=(tensor("x", "input", X), tensor("y", "output", Y)),
        inputs=("x",),
        outputs=("y",),
        layers=(SegmentLayer("dense", 0, 9),),
    )


@T.prim_func(s_tir=True)
def external(x: T.handle, y: T.handle) -> None:
    T.func_attr({"qcompile.vta_segment": "dense one", "tirx.is_scheduled": True, "op_pattern": 8})
    X = T.match_buffer(x, (T.int64(1), T.int64(16)), "int8")
    Y = T.match_buffer(y, (T.int64(1), T.int64(16)), "int8")
    T.evaluate(T.call_extern("int32", "vta", X.data, Y.data))


def module(target_name: str) -> tvm.IRModule:
    """x + 1, the segment, and y - 3; int8 codes all the way."""
    target = load_target(target_name)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 16), "int8"))
    with builder.function("main", [x]):
        with builder.dataflow():
            more = builder.emit(op.add(x, relax.const(1, "int8")))
            function = builder.add_func(external, "external")
            y = builder.emit(relax.call_tir(function, [more], relax.TensorType((1, 16), "int8")))
            output = builder.emit_output(op.subtract(y, relax.const(3, "int8")))
        builder.emit_func_output(output)
    passes = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    mod = tvm.transform.Sequential(passes)(builder.get())
    for var, found in mod.functions.items():
        if not isinstance(found, relax.Function) and SEGMENT not in found.attrs:
            mod[var] = schedule(found, target)
    return mod


PYNQ = Registers("hls", 0x43C00000, 0)


def accelerator() -> Accelerator:
    """VTA's part of `module` on a Pynq board."""
    simulated = load_target("x86-64-v3")
    return Accelerator((segment(),), PYNQ, module("x86-64-v3"), simulated)
