"""Look bytes up in a table of 256 bytes: an intrinsic that vectorizes.

    lookup(code, table) = table[code]        code: uint8, table: 256 uint8 or int8

TVM takes a load whose index is data for opaque, and fuses it with nothing; the intrinsic is
elementwise. AVX-512 VBMI permutes: vpermi2b looks the low seven bits of 64 codes up in one half of
the table, and the top bit chooses the half. AArch64 looks 16 codes up in each quarter of the table,
64 bytes in four registers: tbl gives 0 for codes beyond it, tbx leaves those as they were. Other
processors load byte after byte.
"""

from typing import Any

import tvm.ir._ffi_api
import tvm_ffi
from tvm import te, tirx
from tvm.ir import register_op_attr

from qcompile.targets import Target

LOADED, PERMUTED = "qcompile.lookup", "qcompile.lookup_permuted"
IN_QUARTERS = "qcompile.lookup_in_quarters"
ENTRIES = 256
LANES = 64  # bytes in a vector of AVX-512
QUARTER, VECTOR_BYTES = 64, 16  # of AArch64


def register_lookup() -> None:
    """Register the forms of the intrinsic and their lowering; twice is harmless."""
    for name, lowering in ((LOADED, _load), (PERMUTED, _permute), (IN_QUARTERS, _in_quarters)):
        if name in tvm.ir._ffi_api.ListOpNames():
            continue
        tvm.ir._ffi_api.RegisterOp(name, "The entry of a table of 256 bytes for a uint8 code.")
        register_op_attr(name, "TVectorizable", True)
        register_op_attr(name, "TScriptPrinterName", name.removeprefix("qcompile."))
        register_op_attr(name, "TCallEffectKind", int(tirx.CallEffectKind.ReadState.value))
        tirx.register_intrin_lowering(name, target="llvm", f=lowering)


def lookup(code: tirx.Expr, table: te.Tensor) -> tirx.Expr:
    """table[code]. code: uint8; table: (256,) uint8 or int8."""
    register_lookup()
    first = tirx.call_intrin("handle", "tirx.address_of", table[0])
    return tirx.call_intrin(str(table.dtype), tvm.ir.Op.get(LOADED), code, first)


def permute_lookups(func: tirx.PrimFunc, target: Target) -> tirx.PrimFunc:
    """`func` with permutations in place of loads, if the target has them."""
    if target.architecture.name == "aarch64":
        form = IN_QUARTERS
    elif "avx512vbmi" in target.features and target.vector_bytes == LANES:
        form = PERMUTED
    else:
        return func

    def permuted(call: Any) -> Any:
        if getattr(call.op, "name", None) != LOADED:
            return call
        return tirx.call_intrin(str(call.ty), tvm.ir.Op.get(form), *call.args)

    return func.with_body(tvm_ffi.structural_map(func.body, (tvm.ir.Call, permuted)))


def _load(call: Any) -> tirx.Expr:
    code, table = _operands(call)
    return tirx.BufferLoad(table, [code.astype(_vector("int32", _lanes(code)))])


def _permute(call: Any) -> tirx.Expr:
    """Two permutations and a choice, of 64 bytes: fewer codes are repeated, and cut afterwards."""
    code, table = _operands(call)
    lanes = _lanes(code)
    if lanes == 1 or LANES % lanes:
        return _load(call)
    bytes_ = _vector("int8", LANES)
    quarters = [
        tirx.reinterpret(bytes_, tirx.BufferLoad(table, [tirx.Ramp(first, 1, LANES)]))
        for first in range(0, ENTRIES, LANES)
    ]
    codes = code if lanes == LANES else tirx.Shuffle([code] * (LANES // lanes), list(range(LANES)))
    index = tirx.reinterpret(bytes_, codes)

    def half(first: tirx.Expr, second: tirx.Expr) -> tirx.Expr:
        name = "llvm.x86.avx512.vpermi2var.qi.512"
        return tirx.call_llvm_pure_intrin(bytes_, name, first, index, second)

    upper = index < tirx.Broadcast(tirx.const(0, "int8"), LANES)
    found = tirx.Select(upper, half(*quarters[2:]), half(*quarters[:2]))
    found = found if lanes == LANES else tirx.Shuffle([found], list(range(lanes)))
    return tirx.reinterpret(str(call.ty), found)


def _in_quarters(call: Any) -> tirx.Expr:
    """16 codes at a time: fewer are repeated, and cut afterwards."""
    code, table = _operands(call)
    lanes = _lanes(code)
    if lanes == 1 or (lanes % VECTOR_BYTES and VECTOR_BYTES % lanes):
        return _load(call)
    whole = max(lanes, VECTOR_BYTES)
    if lanes < whole:
        code = tirx.Shuffle([code] * (whole // lanes), list(range(whole)))
    found = [
        _sixteen(tirx.Shuffle([code], list(range(first, first + VECTOR_BYTES))), table)
        for first in range(0, whole, VECTOR_BYTES)
    ]
    return tirx.reinterpret(str(call.ty), tirx.Shuffle(found, list(range(lanes))))


def _sixteen(code: tirx.Expr, table: Any) -> tirx.Expr:
    bytes_ = _vector("int8", VECTOR_BYTES)
    index = tirx.reinterpret(bytes_, code)
    found: list[tirx.Expr] = []
    for first in range(0, ENTRIES, QUARTER):
        vectors = [
            tirx.reinterpret(bytes_, tirx.BufferLoad(table, [tirx.Ramp(start, 1, VECTOR_BYTES)]))
            for start in range(first, first + QUARTER, VECTOR_BYTES)
        ]
        own = index - tirx.Broadcast(tirx.const(first - 256 * (first > 127), "int8"), VECTOR_BYTES)
        name = f"llvm.aarch64.neon.{'tbx4' if found else 'tbl4'}.v16i8"
        found = [tirx.call_llvm_pure_intrin(bytes_, name, *found, *vectors, own)]
    return found[0]


def _operands(call: Any) -> tuple[tirx.Expr, Any]:
    """The codes, and the buffer of the table."""
    code, address = call.args
    return code, address.args[0].source


def _lanes(code: tirx.Expr) -> int:
    return int(str(code.ty).partition("x")[2] or 1)


def _vector(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"
