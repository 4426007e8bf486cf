"""The integer sums against NumPy, exactly."""

import numpy as np
import pytest
import tvm
from tvm import relax

from qcompile.ops.integer_sources import integer_conv2d, integer_matmul


def run(build, *arrays):
    """`build` applied to parameters of the arrays' types, in TVM's virtual machine."""
    parameters = [
        relax.Var(f"p{i}", relax.TensorType(array.shape, str(array.dtype)))
        for i, array in enumerate(arrays)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(build(*parameters)))
        builder.emit_func_output(result)
    machine = relax.VirtualMachine(tvm.compile(builder.get(), "llvm"), tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(array) for array in arrays)).numpy()


def codes(seed, shape, dtype):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, shape, dtype=dtype)


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8")])
@pytest.mark.parametrize("zeros", [((), ()), ((4, 1), (5,)), ((1,), (6, 1))])
@pytest.mark.parametrize("batches", [((), ()), ((2, 1), (3,))])
def test_multiplies(types, zeros, batches):
    shapes = (*batches[0], 4, 6), (*batches[1], 6, 5)
    a, b = (
        codes(i, shape, dtype) for i, (shape, dtype) in enumerate(zip(shapes, types, strict=True))
    )
    za, zb = (
        codes(i + 2, shape, dtype)
        for i, (shape, dtype) in enumerate(zip(zeros, types, strict=True))
    )
    expected = (a.astype("int64") - za) @ (b.astype("int64") - zb)
    found = run(integer_matmul, a, b, za, zb)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("per_channel", [True, False])
def test_convolves(groups, per_channel):
    x, w = codes(0, (2, 4, 7, 6), "uint8"), codes(1, (8, 4 // groups, 3, 2), "int8")
    zx, zw = codes(2, (), "uint8"), codes(3, (8,) if per_channel else (), "int8")
    geometry = {"strides": (2, 1), "padding": (1, 0, 2, 1), "dilation": (1, 2)}
    data = np.pad(x.astype("int64") - zx, ((0, 0), (0, 0), (1, 2), (0, 1)))
    weights = w.astype("int64") - (zw[:, None, None, None] if per_channel else zw)
    expected = np.zeros((2, 8, 4, 5), "int64")
    inputs, outputs = 4 // groups, 8 // groups
    for o, y, z in np.ndindex(8, 4, 5):
        first = o // outputs * inputs
        window = data[:, first : first + inputs, 2 * y : 2 * y + 3, z : z + 3 : 2]
        expected[:, o, y, z] = (window * weights[o]).sum((1, 2, 3))
    found = run(lambda *p: integer_conv2d(*p, groups=groups, **geometry), x, w, zx, zw)
    np.testing.assert_array_equal(found, expected)


def test_refuses_shapes_that_do_not_fit():
    a, zero = codes(0, (4, 6), "uint8"), np.uint8(0)
    with pytest.raises(ValueError, match="do not fit"):
        run(integer_matmul, a, codes(1, (5, 3), "uint8"), zero, zero)
