"""How an own Relax operator enters TVM."""

from collections.abc import Callable
from typing import Any

import tvm
import tvm.ir._ffi_api
from tvm import relax
from tvm.ir import register_op_attr


def register_op(
    name: str,
    infer: Callable[[tvm.ir.Call, relax.BlockBuilder], relax.Type],
    legalize: Callable[[relax.BlockBuilder, tvm.ir.Call], relax.Expr] | None = None,
) -> None:
    """Register `name` as a pure operator, unless it is registered already."""
    if name in tvm.ir._ffi_api.ListOpNames():
        return
    tvm.ir._ffi_api.RegisterOp(name, "")
    register_op_attr(name, "FInferType", infer)
    register_op_attr(name, "FPurity", True)
    if legalize is not None:
        register_op_attr(name, "FLegalize", legalize)


def call_op(name: str, arguments: list[relax.Expr], **attributes: Any) -> tvm.ir.Call:
    """A call of an own operator with its attributes."""
    attrs = tvm.ir.make_node("ir.DictAttrs", **attributes)
    return tvm.ir.Call(tvm.ir.Op.get(name), arguments, attrs=attrs)
