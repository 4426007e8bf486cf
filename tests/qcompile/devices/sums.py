"""A small bundle, whose outputs NumPy tells exactly."""

import json
from pathlib import Path

from tvm import relax
from tvm.relax import op

from qcompile.export import export_bundle
from qcompile.targets import load_target


def export_sums(target: str, output: Path) -> Path:
    """A bundle that takes two samples at once: sum = a + b and double = 2 b; a float32, b int8."""
    builder = relax.BlockBuilder()
    a = relax.Var("a", relax.TensorType((2, 3), "float32"))
    b = relax.Var("b", relax.TensorType((2, 3), "int8"))
    with builder.function("main", [a, b]):
        with builder.dataflow():
            total = builder.emit(op.add(a, op.astype(b, "float32")))
            double = builder.emit(op.add(b, b))
            outputs = builder.emit_output(relax.Tuple([total, double]))
        builder.emit_func_output(outputs)
    names = {"inputs": [{"name": "a"}, {"name": "b"}]}
    names["outputs"] = [{"name": "sum"}, {"name": "double"}]
    mod = relax.transform.LegalizeOps()(builder.get()).with_attr("qcompile.io", json.dumps(names))
    export_bundle(
        mod, name="sums", target=load_target(target), output=output, report={"layers": []}
    )
    return output
