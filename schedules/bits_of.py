"""One bit of each of up to 32 codes as a word: an intrinsic that becomes a comparison's mask.

    bits_of(codes, plane) = sum over b of ((codes[b] >> plane) & 1) << b

Neighbours in memory are loaded as one vector; its comparison with zero is a mask of AVX-512, or
collected by vpmovmskb.
"""

from collections.abc import Sequence
from typing import Any

import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.ir import register_op_attr

from qcompile.schedules.llvm_ir import with_functions

BITS_OF = "qcompile.bits_of"
LANES = (32, 16, 8)  # of vectors that a function packs


def register_bits_of() -> None:
    """Register the intrinsic and its lowering for single codes; twice is harmless."""
    if BITS_OF in tvm.ir._ffi_api.ListOpNames():
        return
    tvm.ir._ffi_api.RegisterOp(BITS_OF, "The bits of a plane of up to 32 codes as a uint32.")
    register_op_attr(BITS_OF, "TScriptPrinterName", "bits_of")
    register_op_attr(BITS_OF, "TCallEffectKind", int(tirx.CallEffectKind.Pure.value))
    tirx.register_intrin_lowering(
        BITS_OF, target="llvm", f=lambda call: _one_by_one(call.args[1:], call.args[0])
    )


def bits_of(codes: Sequence[tirx.Expr], plane: tirx.Expr) -> tirx.Expr:
    """Bit `plane` of the codes (uint8), the first one's lowest. At most 32."""
    register_bits_of()
    return tirx.call_intrin("uint32", tvm.ir.Op.get(BITS_OF), plane.astype("uint32"), *codes)


def pack_vectors(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with the intrinsic on vectors, and the functions that those need."""

    def packed(block: s_tir.SBlock) -> s_tir.SBlock:
        calls: list[Any] = []
        tvm_ffi.structural_walk(block.body, (tvm.ir.Call, calls.append))
        inner: list[Any] = []
        tvm_ffi.structural_walk(block.body, (s_tir.SBlock, inner.append))
        if inner or not any(_is_bits_of(call) for call in calls):
            return block
        body = tvm_ffi.structural_map(
            block.body, (tvm.ir.Call, lambda call: _by_vectors(call) if _is_bits_of(call) else call)
        )
        return with_functions(block, "".join(map(_definition, LANES)), body)

    return func.with_body(tvm_ffi.structural_map(func.body, (s_tir.SBlock, packed)))


def _is_bits_of(call: Any) -> bool:
    return getattr(call.op, "name", "") == BITS_OF


def _by_vectors(call: Any) -> tirx.Expr:
    """The longest vectors first, then single codes."""
    plane, *codes = call.args
    if not _neighbours(codes):
        return call
    total, first = tirx.const(0, "uint32"), 0
    for lanes in LANES:
        while len(codes) - first >= lanes:
            *outer, index = codes[first].indices
            vector = tirx.BufferLoad(codes[0].source, [*outer, tirx.Ramp(index, 1, lanes)])
            word = tirx.call_pure_extern("uint32", _symbol(lanes), vector, plane.astype("uint8"))
            total = total | (word << tirx.const(first, "uint32"))
            first += lanes
    if first == len(codes):
        return total
    return total | (_one_by_one(codes[first:], plane) << tirx.const(first, "uint32"))


def _neighbours(codes: Sequence[Any]) -> bool:
    """Whether the codes are loads from one place after the other."""
    if not all(isinstance(code, tvm.ir.TensorLoad) for code in codes):
        return False
    analyzer = sym.Analyzer()
    *outer, start = codes[0].indices
    return all(
        code.source.same_as(codes[0].source)
        and tvm_ffi.structural_equal(list(code.indices[:-1]), list(outer))
        and analyzer.can_prove_equal(code.indices[-1], start + number)
        for number, code in enumerate(codes)
    )


def _one_by_one(codes: Sequence[tirx.Expr], plane: tirx.Expr) -> tirx.Expr:
    total = tirx.const(0, "uint32")
    for number, code in enumerate(codes):
        bit = (code.astype("uint32") >> plane) & tirx.const(1, "uint32")
        total = total | (bit << tirx.const(number, "uint32"))
    return total


def _symbol(lanes: int) -> str:
    return f"qcompile_bits_of_{lanes}"


def _definition(lanes: int) -> str:
    vector, zero = f"<{lanes} x i8>", "zeroinitializer"
    result = "%word" if lanes == 32 else "%wide"
    widened = [] if lanes == 32 else [f"  %wide = zext i{lanes} %word to i32"]
    lines = [
        f"define i32 @{_symbol(lanes)}({vector} %codes, i8 %plane) {{",
        "  %bit = shl i8 1, %plane",
        f"  %first = insertelement {vector} poison, i8 %bit, i32 0",
        f"  %bits = shufflevector {vector} %first, {vector} poison, <{lanes} x i32> {zero}",
        f"  %found = and {vector} %codes, %bits",
        f"  %set = icmp ne {vector} %found, {zero}",
        f"  %word = bitcast <{lanes} x i1> %set to i{lanes}",
        *widened,
        f"  ret i32 {result}",
        "}",
    ]
    return "\n".join([*lines, ""])
