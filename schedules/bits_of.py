"""One bit of each of up to 32 codes as a word: an intrinsic that becomes a comparison's mask.

    bits_of(codes, plane) = sum over b of ((codes[b] >> plane) & 1) << b

Neighbours in memory are loaded as one vector. On x86 its comparison with zero is a mask of AVX-512,
or collected by vpmovmskb. On ARM the bytes that are not zero become their bit's value in the byte
of the word, and additions of pairs (addp, vpadd) make eight of them one byte.
"""

from collections.abc import Sequence
from typing import Any

import tvm
import tvm.ir._ffi_api
import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.ir import register_op_attr

from qcompile.schedules.llvm_ir import with_functions
from qcompile.targets import Target

BITS_OF = "qcompile.bits_of"
LANES = (32, 16, 8)  # of vectors that a function packs
WORD_CODES, BYTE_BITS = 32, 8


DECLARATIONS = {
    "aarch64": (
        "declare <16 x i8> @llvm.aarch64.neon.addp.v16i8(<16 x i8>, <16 x i8>)\n",
        "declare <8 x i8> @llvm.aarch64.neon.addp.v8i8(<8 x i8>, <8 x i8>)\n",
    ),
    "armv7": ("declare <8 x i8> @llvm.arm.neon.vpadd.v8i8(<8 x i8>, <8 x i8>)\n",),
}


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


def pack_vectors(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func` with the intrinsic on vectors, and the functions that those need."""
    architecture = target.architecture.name
    functions = [_definition(lanes, architecture) for lanes in LANES]
    text = "".join([*DECLARATIONS.get(architecture, ()), *functions])

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
        return with_functions(block, text, body)

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


def _definition(lanes: int, architecture: str) -> str:
    vector, zero = f"<{lanes} x i8>", "zeroinitializer"
    collected = {"aarch64": _pairs_of_sixteen, "armv7": _pairs_of_eight}.get(architecture, _mask)
    result = "%word" if lanes == WORD_CODES else "%wide"
    widened = [] if lanes == WORD_CODES else [f"%wide = zext i{lanes} %word to i32"]
    lines = [
        f"define i32 @{_symbol(lanes)}({vector} %codes, i8 %plane) {{",
        "%bit = shl i8 1, %plane",
        f"%first = insertelement {vector} poison, i8 %bit, i32 0",
        f"%bits = shufflevector {vector} %first, {vector} poison, <{lanes} x i32> {zero}",
        f"%found = and {vector} %codes, %bits",
        f"%set = icmp ne {vector} %found, {zero}",
        *collected(lanes),
        *widened,
        f"ret i32 {result}",
        "}",
    ]
    return "\n".join([*lines, ""])


def _mask(lanes: int) -> list[str]:
    """%word: the bits %set."""
    return [f"%word = bitcast <{lanes} x i1> %set to i{lanes}"]


def _pairs_of_eight(lanes: int) -> list[str]:
    """The same by additions of pairs in vectors of eight bytes."""
    return _pairs(lanes, BYTE_BITS, "llvm.arm.neon.vpadd.v8i8")


def _pairs_of_sixteen(lanes: int) -> list[str]:
    """The same by additions of pairs in vectors of sixteen bytes."""
    width = min(lanes, 2 * BYTE_BITS)
    return _pairs(lanes, width, f"llvm.aarch64.neon.addp.v{width}i8")


def _pairs(lanes: int, width: int, instruction: str) -> list[str]:
    """The same by the instruction on vectors of `width` bytes: eight neighbours in three steps."""
    vector, all_codes = f"<{width} x i8>", f"<{lanes} x i8>"
    values = ", ".join(f"i8 {1 << k % BYTE_BITS}" for k in range(lanes))
    lines = [f"%mask = sext <{lanes} x i1> %set to {all_codes}"]
    lines += [f"%values = and {all_codes} %mask, <{values}>"]
    level = []
    for first in range(0, lanes, width):
        order = ", ".join(f"i32 {k}" for k in range(first, first + width))
        level.append(f"%part{first}")
        lines.append(
            f"{level[-1]} = shufflevector {all_codes} %values, {all_codes} poison,"
            f" <{width} x i32> <{order}>"
        )
    for step in range(3):
        pairs = list(zip(level[::2], level[1::2] or level, strict=True))
        level = [f"%sum{step}_{number}" for number in range(len(pairs))]
        lines += [
            f"{name} = call {vector} @{instruction}({vector} {a}, {vector} {b})"
            for name, (a, b) in zip(level, pairs, strict=True)
        ]
    words = 8 * width // lanes
    lines += [f"%words = bitcast {vector} {level[0]} to <{words} x i{lanes}>"]
    return [*lines, f"%word = extractelement <{words} x i{lanes}> %words, i32 0"]
