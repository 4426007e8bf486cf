"""The way of a module: plain lists of passes, in order."""

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu_generic

from qcompile.ops import register_ops
from qcompile.passes.channels_last import ChannelsLast
from qcompile.passes.choose_kernels import ChooseKernels
from qcompile.passes.compose_tables import ComposeTables
from qcompile.passes.conv1d_as_conv2d import Conv1dAsConv2d
from qcompile.passes.declared_patterns import DeclaredPatterns
from qcompile.passes.dequantize_per_reader import DequantizePerReader
from qcompile.passes.fold_affine import FoldAffine
from qcompile.passes.fold_batch_norm import FoldBatchNorm
from qcompile.passes.fold_pad import FoldPad
from qcompile.passes.hoist_quantize import HoistQuantize
from qcompile.passes.integer_bias import IntegerBias
from qcompile.passes.integer_conv2d import IntegerConv2d
from qcompile.passes.integer_matmul import IntegerMatmul
from qcompile.passes.integer_pool import IntegerPool
from qcompile.passes.integer_sources import IntegerSources
from qcompile.passes.lower_batch_matmul import LowerBatchMatmul
from qcompile.passes.lower_batch_matmul_bits import LowerBatchMatmulBits
from qcompile.passes.lower_conv2d import LowerConv2d
from qcompile.passes.lower_conv2d_bits import LowerConv2dBits
from qcompile.passes.lower_dense import LowerDense
from qcompile.passes.lower_dense_bits import LowerDenseBits
from qcompile.passes.lower_dense_packed import LowerDensePacked
from qcompile.passes.lower_depthwise import LowerDepthwise
from qcompile.passes.lower_float import LowerFloat
from qcompile.passes.lower_float_batch_matmul import LowerFloatBatchMatmul
from qcompile.passes.lower_float_depthwise import LowerFloatDepthwise
from qcompile.passes.lower_pool import LowerPool
from qcompile.passes.lower_table import LowerTable
from qcompile.passes.lowering import UNDECIDED, Decided
from qcompile.passes.narrow_constants import NarrowConstants
from qcompile.passes.own_quantize import OwnQuantize
from qcompile.passes.polynomial_math import PolynomialMath
from qcompile.passes.power_of_two import PowerOfTwo
from qcompile.passes.recover_planes import RecoverPlanes
from qcompile.passes.recover_weights import RecoverWeights
from qcompile.passes.requantize import Requantize
from qcompile.passes.rounded_as_quantize import RoundedAsQuantize
from qcompile.passes.schedule_kernels import ScheduleKernels
from qcompile.passes.shift_add import ShiftAdd
from qcompile.passes.sign_as_quantize import SignAsQuantize
from qcompile.passes.signals_as_images import SignalsAsImages
from qcompile.passes.sink_dequantize import SinkDequantize
from qcompile.passes.sink_reshape import SinkReshape
from qcompile.passes.tabulate import Tabulate
from qcompile.passes.threshold import MAX_BITS, Threshold
from qcompile.passes.unit_scale import UnitScale
from qcompile.passes.unsigned_activations import UnsignedActivations
from qcompile.scales import EXACT, SHIFT_ADD, WEIGHT_BITS
from qcompile.targets import Target, target_of
from qcompile.targets.costs import Costs, costs_of
from qcompile.tvm_errors import register_errors

Pass = Any  # tvm.transform.Pass; TVM is untyped


def own_form_passes() -> Sequence[Pass]:
    """From any quantized form to ours."""
    register_ops()
    return [
        OwnQuantize(),
        NarrowConstants(),
        SignAsQuantize(),
        RoundedAsQuantize(),
        RecoverWeights(),
        RecoverPlanes(),
    ]


def integer_form_passes(scales: str = EXACT) -> Sequence[Pass]:
    """From quantized form (or float) to integer form, whatever the target.

    scales: one of qcompile.scales. With others than the model's own, codes of one bit alone become
    thresholds, which shifts cannot do.
    """
    exact = scales == EXACT
    rescaled = [] if exact else [_rescale(scales)]
    return [
        FoldBatchNorm(),
        Conv1dAsConv2d(),
        SignalsAsImages(),
        FoldPad(),
        IntegerSources(),
        ChannelsLast(),
        UnsignedActivations(),
        SinkDequantize(),
        HoistQuantize(),
        IntegerConv2d(),
        IntegerMatmul(),
        IntegerPool(),
        Threshold(MAX_BITS if exact else 1),
        IntegerBias(),
        FoldAffine(),
        Requantize(),
        Tabulate(),
        ComposeTables(),
        UnitScale(),
        *rescaled,
        relax.transform.DeadCodeElimination(),
    ]


def _rescale(scales: str) -> Pass:
    return ShiftAdd() if scales == SHIFT_ADD else PowerOfTwo(WEIGHT_BITS[scales])


def lower_passes(
    target: Target, costs: Costs | None = None, decided: Decided = UNDECIDED
) -> Sequence[Pass]:
    """From integer form to calls of kernels; the rest stays Relax operators.

    costs: of the kernels to choose from, by default those of the nearest named target. decided:
    about these kernels.
    """
    chosen = lower_chosen_passes(target, decided)
    return [ChooseKernels(target, costs or costs_of(target)), *chosen]


def lower_chosen_passes(target: Target, decided: Decided = UNDECIDED) -> Sequence[Pass]:
    """The same from layers that have their kernels."""
    return [
        LowerBatchMatmulBits(target, decided),
        LowerDenseBits(target, decided),
        LowerConv2dBits(target, decided),
        LowerDensePacked(target, decided),
        LowerDepthwise(target, decided),
        LowerConv2d(target, decided),
        LowerDense(target, decided),
        LowerBatchMatmul(target, decided),
        LowerPool(target, decided),
        LowerTable(target, decided),
        LowerFloatDepthwise(target, decided),
        LowerFloatBatchMatmul(target, decided),
        LowerFloat(target, decided),
        SinkReshape(),
        relax.transform.EliminateCommonSubexpr(),
        DequantizePerReader(),  # its copies are common subexpressions
        relax.transform.DeadCodeElimination(),
    ]


def fuse_passes(target: Target) -> Sequence[Pass]:
    """From kernels and Relax operators to fused and scheduled kernels."""
    return [*task_passes(), ScheduleKernels(target)]


def task_passes() -> Sequence[Pass]:
    """From kernels and Relax operators to fused kernels, which have no schedules yet."""
    return [
        relax.transform.LegalizeOps(),
        relax.transform.RewriteDataflowReshape(),
        relax.transform.AnnotateTIROpPattern(),
        DeclaredPatterns(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
        PolynomialMath(),
    ]


def register_pipeline() -> None:
    """Make `relax.get_pipeline("qcompile")` known; calling it again is harmless."""
    register_errors()
    if "qcompile" not in relax.pipeline.PIPELINE_MAP:
        relax.register_pipeline("qcompile")(pipeline)


def pipeline() -> Pass:
    """The whole way to TVM's virtual machine: the `relax_pipeline` of `tvm.compile`."""
    register_errors()

    @tvm.transform.module_pass(opt_level=0, name="qcompile")
    def run(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        current = tvm.target.Target.current()
        target = target_of(current)
        passes = [
            *own_form_passes(),
            *integer_form_passes(),
            *lower_passes(target),
            *fuse_passes(target),
            *cpu_generic.dataflow_lower_passes(current),
            *cpu_generic.finalize_passes(current),
        ]
        return tvm.transform.Sequential(passes)(mod)

    return run
