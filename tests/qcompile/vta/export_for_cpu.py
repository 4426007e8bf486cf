"""A bundle without segments."""

from pathlib import Path

import tvm
from tvm import relax
from tvm.relax import op

from qcompile.export import export_bundle
from qcompile.targets import load_target


def cpu_bundle(folder: Path) -> Path:
    """y = x + 1 on x86-64, written to `folder`."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 16), "int8"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(op.add(x, relax.const(1, "int8")))
        builder.emit_func_output(output)
    mod: tvm.IRModule = relax.transform.LegalizeOps()(builder.get())
    export_bundle(mod, name="cpu", target=load_target("x86-64-v3"), output=folder)
    return folder
