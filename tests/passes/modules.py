"""Build Relax functions of a few operators, run them in TVM's virtual machine, look at them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from qcompile.ops import dequantize, quantize

Shape = Sequence[int]


def module(body: Callable[..., Any], *parameters: tuple[Shape, str]) -> tvm.IRModule:
    """main(x0, x1, …) = body(emit, x0, x1, …); parameters: shape and type of each x.

    body returns an expression, or a list of them for a function with several outputs.
    """
    builder = relax.BlockBuilder()
    variables = [
        relax.Var(f"x{i}", relax.TensorType(tuple(shape), dtype))
        for i, (shape, dtype) in enumerate(parameters)
    ]
    with builder.function("main", variables):
        with builder.dataflow():
            result = body(builder.emit, *variables)
            output = builder.emit_output(tuple(result) if isinstance(result, list) else result)
        builder.emit_func_output(output)
    return builder.get()


# LLVM's optimizer would take most of the tests' time.
QUICK = {"kind": "llvm", "opt-level": 0}


def run(mod: tvm.IRModule, *arrays: np.ndarray, target: dict[str, Any] = QUICK) -> Any:
    """What main returns for `arrays`: an array, or a list of them."""
    machine = relax.VirtualMachine(tvm.compile(mod, tvm.target.Target(target)), tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(array) for array in arrays))
    return result.numpy() if hasattr(result, "numpy") else [item.numpy() for item in result]


def const(value: Any, dtype: str = "float32") -> relax.Expr:
    return relax.const(np.asarray(value, dtype), dtype)


def dequantized(codes: Any, scale: Any, zero: Any = 0, **attributes: Any) -> relax.Expr:
    """dequantize with the attributes that the type of the codes tells; codes may be an array."""
    codes = relax.const(codes) if isinstance(codes, np.ndarray) else codes
    dtype = str(codes.ty.dtype.dtype)
    signed, bits = not dtype.startswith("u"), int(dtype.lstrip("uint"))
    attributes = {"signed": signed, "bits": bits, **attributes}
    return dequantize(codes, const(scale), const(zero, dtype), **attributes)


def quantized(x: relax.Expr, scale: Any, zero: Any = 0, **attributes: Any) -> relax.Expr:
    dtype = "int8" if attributes.get("signed") else "uint8"
    return quantize(x, const(scale), const(zero, dtype), **attributes)


def calls(mod: tvm.IRModule, *operators: str) -> list[tvm.ir.Call]:
    """The live operator calls of main in order; only those of `operators` when there are any."""
    mod = relax.transform.DeadCodeElimination()(mod)
    values = [b.value for block in mod["main"].body.blocks for b in block.bindings]
    found = [v for v in values if isinstance(v, tvm.ir.Call) and isinstance(v.op, tvm.ir.Op)]
    return [call for call in found if not operators or str(call.op.name) in operators]


def operators(mod: tvm.IRModule) -> list[str]:
    """The names of main's operators in order, without their namespaces."""
    return [str(call.op.name).rpartition(".")[2] for call in calls(mod)]


def constants(call: tvm.ir.Call) -> list[np.ndarray]:
    """The constant operands of a call."""
    return [a.value.numpy() for a in call.args if isinstance(a, tvm.ir.GenericConst)]


def attribute(call: tvm.ir.Call, name: str) -> Any:
    """An attribute as a plain int, str or list of ints."""
    value = call.attrs[name]
    if isinstance(value, str):
        return str(value)
    return [int(item) for item in value] if hasattr(value, "__iter__") else int(value)


def assert_same(after: tvm.IRModule, before: tvm.IRModule) -> None:
    """Equal up to the names of variables and dead or aliasing bindings."""
    plain = tvm.transform.Sequential(
        [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    )
    tvm.ir.assert_structural_equal(plain(after), plain(before))
