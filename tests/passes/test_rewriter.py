import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import relax as R  # noqa: N812 (TVMScript's own name)

from qcompile.passes.rewriter import BindingRewriter, operator_name, rewrite_functions
from tests.passes.modules import assert_same, module, run

X = np.linspace(-2, 2, 9, dtype="float32")
VECTOR = ((9,), "float32")


class ReluAsMaximum(BindingRewriter):
    """relu(x) -> maximum(x, 0), and notes how often the argument of every relu is read."""

    def __init__(self, read=None):
        super().__init__()
        self.read = [] if read is None else read

    def rewrite(self, call, name):
        if operator_name(call) != "relax.nn.relu":
            return None
        self.read.append(self.reads.get(call.args[0]))
        return relax.op.maximum(call.args[0], relax.const(0.0))


def rewritten(mod):
    return rewrite_functions(mod, ReluAsMaximum)


def names(mod):
    return [str(b.var.name) for block in mod["main"].body.blocks for b in block.bindings]


def test_keeps_the_names_of_layers():
    @tvm.transform.module_pass(opt_level=0)
    def rename(mod, _):
        class Renamed(BindingRewriter):
            def rewrite(self, call, name):
                return self.emit(relax.op.negative(call.args[0]), "/block.0/Relu_0.1")

        return rewrite_functions(mod, Renamed)

    mod = rename(module(lambda emit, x: emit(relax.op.nn.relu(x)), VECTOR))
    assert "/block.0/Relu_0.1" in names(rewritten(mod))


def test_a_taken_name_gets_a_number():
    class Twice(BindingRewriter):
        def rewrite(self, call, name):
            return relax.op.abs(self.emit(relax.op.negative(call.args[0]), "layer"))

    mod = module(
        lambda emit, x: emit(relax.op.abs(emit(relax.op.abs(x), "layer")), "layer"), VECTOR
    )
    found = names(rewrite_functions(mod, Twice))
    assert len(set(found)) == len(found)
    assert "layer" in found


def test_a_number_takes_no_name_of_another_layer():
    class TwoEach(BindingRewriter):
        def rewrite(self, call, name):
            return relax.op.abs(self.emit(relax.op.negative(call.args[0]), name))

    class Named(BindingRewriter):
        def rewrite(self, call, name):
            first = self.emit(relax.op.nn.relu(call.args[0]), "conv")
            return self.emit(relax.op.exp(first), "conv_1")

    mod = rewrite_functions(module(lambda emit, x: emit(relax.op.abs(x)), VECTOR), Named)
    made = rewrite_functions(mod, TwoEach)
    bindings = [b for block in made["main"].body.blocks for b in block.bindings]
    operators = {str(b.var.name): operator_name(b.value) for b in bindings}
    assert operators["conv"] == operators["conv_1"] == "relax.negative"


def test_counts_readers():
    def body(emit, x):
        once, twice = emit(relax.op.abs(x)), emit(relax.op.exp(x))
        squared = emit(relax.op.multiply(twice, twice))
        returned = emit(relax.op.negative(x))
        relus = [emit(relax.op.nn.relu(value)) for value in (once, twice, squared, returned)]
        return [*relus, returned]

    read = []
    rewrite_functions(module(body, VECTOR), lambda: ReluAsMaximum(read))
    assert read == [1, 3, 1, 2]


def test_several_outputs():
    def body(emit, x):
        relu = emit(relax.op.nn.relu(x))
        return [relu, x, relu, emit(relax.op.negative(relu))]

    mod = rewritten(module(body, VECTOR))
    relu = np.maximum(X, 0)
    for found, expected in zip(run(mod, X), (relu, X, relu, -relu), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_tuples_inside():
    def body(emit, x):
        pair = emit(relax.Tuple([emit(relax.op.nn.relu(x)), x]))
        parts = emit(relax.op.split(x, 3))
        item = emit(relax.TupleGetItem(parts, 1))
        relu = emit(relax.TupleGetItem(pair, 0))
        return [emit(relax.op.concat([relu, item], 0)), emit(relax.op.nn.relu(item))]

    joined, middle = run(rewritten(module(body, VECTOR)), X)
    np.testing.assert_array_equal(joined, np.concatenate([np.maximum(X, 0), X[3:6]]))
    np.testing.assert_array_equal(middle, np.maximum(X[3:6], 0))


def test_parameters_returned_as_they_are():
    mod = module(lambda emit, x: x, VECTOR)
    np.testing.assert_array_equal(run(rewritten(mod), X), X)


@R.function
def branching(x: R.Tensor((9,), "float32"), flag: R.Tensor((), "bool")) -> R.Tensor((9,)):
    y = R.abs(x)
    if flag:  # noqa: SIM108 (TVMScript)
        z = R.nn.relu(y)
    else:
        z = R.negative(y)
    return z


@R.function(pure=False)
def printing(x: R.Tensor((9,), "float32")) -> R.Tensor((9,), "float32"):
    y = R.nn.relu(x)
    R.print(y, format="{}")
    return y


@pytest.mark.parametrize("function", [branching, printing])
def test_leaves_control_flow_and_effects_alone(function):
    mod = tvm.IRModule({"main": function})
    assert_same(rewritten(mod), mod)


def calling():
    """main calls a private function; another function stands beside it."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((9,), "float32"))
    with builder.function("helper", [x], private=True):
        helper = builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))
    for name in ("other", "main"):
        x = relax.Var("x", relax.TensorType((9,), "float32"))
        with builder.function(name, [x]):
            relu = builder.emit(relax.Call(helper, [x]) if name == "main" else relax.op.nn.relu(x))
            builder.emit_func_output(builder.emit(relax.op.negative(relu)))
    return builder.get()


def test_several_functions():
    mod = rewritten(calling())
    names = {var.name_hint: "global_symbol" in (f.attrs or {}) for var, f in mod.functions.items()}
    assert names == {"helper": False, "other": True, "main": True}
    machine = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())
    for name in ("main", "other"):
        found = machine[name](tvm.runtime.tensor(X)).numpy()
        np.testing.assert_array_equal(found, -np.maximum(X, 0))


def test_keeps_attributes_of_module_and_function():
    mod = module(lambda emit, x: emit(relax.op.nn.relu(x)), VECTOR).with_attr("mark", "m")
    mod["main"] = mod["main"].with_attr("num_input", 1)
    after = rewritten(mod)
    assert str(after.attrs["mark"]) == "m"
    assert int(after["main"].attrs["num_input"]) == 1
    assert str(after["main"].attrs["global_symbol"]) == "main"
