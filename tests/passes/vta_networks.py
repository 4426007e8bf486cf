"""Networks in integer form for VTA, and what their partition computes."""

from functools import partial

import numpy as np
import tvm
from tvm import relax

from qcompile.ops import add, conv2d, dense, requantize, sum_pool2d, threshold
from qcompile.passes.partition_vta import SEGMENT, Partition
from qcompile.passes.rewriter import BindingRewriter, operator_name
from qcompile.targets.vta.planner.digits import digit_count
from qcompile.targets.vta.planner.packing import packed, unpacked
from qcompile.targets.vta.program import Placement
from tests.passes.modules import const, run
from tests.targets.vta.vta_layers import reference

CODES = {"zero_point": 7, "low": 0, "high": 255, "dtype": "uint8"}
SAME = (1, 1, 1, 1)
RNG = np.random.default_rng(11)


def conv(emit, x, outputs, *, kernel=3, layer="conv", zero=0, bits=7, **geometry):
    """The sums of a convolution with random weights and biases."""
    groups = geometry.get("groups", 1)
    channels = int(x.ty.shape[3])
    most = 1 << (bits - 1)
    weights = RNG.integers(-most, most, (outputs, kernel, kernel, channels // groups))
    attributes = {"strides": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    attributes |= {"zero_point": zero, "bits": (8, 8), "codes": (0, 1), "layer": layer}
    bias = const(RNG.integers(-999, 999, outputs), "int32")
    return emit(conv2d(x, const(weights, "int8"), bias, **attributes | geometry))


def shifted(emit, sums, shift=8, input_zero=0, **codes):
    """Codes of sums, or of codes, by a shift."""
    scale = const(2.0 ** -np.asarray(shift, "float64"))
    attributes = CODES | codes
    return emit(
        requantize(sums, scale, None, input_zero=input_zero, rounding="half_ceil", **attributes)
    )


def summed(emit, a, b, scales=(0.5, 1.25), zeros=(3, 9), rounding="half_ceil", **codes):
    return emit(add(a, b, scales=scales, zeros=zeros, rounding=rounding, **CODES | codes))


def averaged(emit, x, kernel, scale, zero=7, padding=(0, 0, 0, 0)):
    geometry = {"kernel": kernel, "strides": kernel, "padding": padding, "dilation": (1, 1)}
    sums = emit(sum_pool2d(x, **geometry, zero_point=zero))
    return emit(requantize(sums, const(scale), None, input_zero=0, rounding="half_ceil", **CODES))


def two_codes(emit, sums, low=-1, step=2, flip=None):
    channels = int(sums.ty.shape[-1])
    levels = RNG.integers(-20000, 20000, (1, channels))
    levels[0, :2] = -(2**31), 2**31 - 1
    turned = None if flip is None else const(flip, "int32")
    dtype = "int8" if low < 0 else "uint8"
    return emit(threshold(sums, const(levels, "int32"), turned, low=low, step=step, dtype=dtype))


def product(emit, x, outputs, layer="dense", zero=0):
    weights = RNG.integers(-64, 64, (outputs, int(x.ty.shape[-1])))
    bias = const(RNG.integers(-999, 999, outputs), "int32")
    attributes = {"zero_point": zero, "bits": (8, 8), "codes": (0, 1), "layer": layer}
    return emit(dense(x, const(weights, "int8"), bias, **attributes))


def pooled(emit, x, size=2, stride=2, padding=(0, 0, 0, 0)):
    attributes = {"pool_size": (size, size), "strides": (stride, stride), "padding": padding}
    return emit(relax.op.nn.max_pool2d(x, **attributes, layout="NHWC"))


def run_partition(found: Partition, config, *arrays):
    """What `main` returns when NumPy computes the segments."""
    return run(_with_functions(found, partial(_numpy_segment, config)), *arrays)


def _numpy_segment(config, segment, *tensors):
    """Fills the output tensors of a segment, all in VTA's layout."""
    count = len(segment.inputs)
    inputs = {}
    for name, data in zip(segment.inputs, tensors[:count], strict=True):
        place = _place(segment.tensor(name), config)
        stored = unpacked(data.numpy().reshape(-1), place, config)
        tensor = segment.tensor(name)
        assert tensor.low <= stored.min() and stored.max() <= tensor.high
        inputs[name] = stored
    values = reference(segment, inputs)
    for layer in segment.layers:
        value = values[layer.output.name]
        assert layer.output.low <= value.min() and value.max() <= layer.output.high
    for name, data in zip(segment.outputs, tensors[count:], strict=True):
        tensor, value = segment.tensor(name), values[name]
        if tensor.dtype == "sums":
            planes = 32 // config.out_width
            bits = value[None] >> (np.arange(planes) * config.out_width)[:, None, None, None, None]
            parts = bits & ((1 << config.out_width) - 1)
            sign = 1 << (config.out_width - 1)
            one = Placement(0, 0, tensor.shape, "codes", 1)
            found = [packed((part ^ sign) - sign, one, config) for part in parts]
            result = np.concatenate(found)
        else:
            result = packed(value, _place(tensor, config), config)
        data.copyfrom(result.reshape(data.shape))


def _place(tensor, config):
    planes = digit_count(tensor.low, tensor.high, config.inp_width)
    return Placement(0, 0, tensor.shape, "codes", planes)


class _Calls(BindingRewriter):
    """Segments as calls of functions that Python registers."""

    def __init__(self, mod):
        super().__init__()
        self.mod = mod

    def rewrite(self, call, name):
        if operator_name(call) != "relax.call_tir":
            return None
        function = self.mod[call.args[0]]
        if SEGMENT not in (function.attrs or {}):
            return None
        types = call.ty
        types = list(types.fields) if isinstance(types, tvm.ir.TupleType) else types
        return relax.call_dps_packed(f"test.{function.attrs[SEGMENT]}", call.args[1], types)


def _with_functions(found, compute):
    for segment in found.segments:
        name = f"test.{segment.name}"
        tvm.register_global_func(name, partial(compute, segment), override=True)
    rewriter = _Calls(found.mod)
    functions = {v: f for v, f in found.mod.functions.items() if not isinstance(f, relax.Function)}
    kernels = {v: f for v, f in functions.items() if SEGMENT not in (f.attrs or {})}
    rewriter.builder = relax.BlockBuilder(tvm.IRModule(functions))
    main = next(v for v in found.mod.functions if str(v.name_hint) == "main")
    return tvm.IRModule({**kernels, main: rewriter.transform(found.mod["main"])})
