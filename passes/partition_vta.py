"""Hand layers over to VTA: what it computes becomes calls of segments.

    y = a layer of x, ...            -> b = vta_blocked(x); c = segment(b); y = vta_codes(c)

x, y: NHWC codes; b, c: bytes in VTA's layout (schedules/blocked.py); sums (int32) come back by
vta_sums, inputs with few channels go there by vta_gathered. A segment is a PrimFunc around an
extern call, marked with `qcompile.vta_segment`; its layers are a `Segment` beside the module.
Segments hand tensors on to each other as they are. Everything that no layer of VTA is
(vta_layers.py) stays as it is, for the host.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tvm import relax, te, tirx
from tvm.ir import IRModule

from qcompile.errors import Unsupported
from qcompile.passes.declared_patterns import (
    DECLARED,
    INJECTIVE,
    OUT_ELEMENTWISE_FUSABLE,
)
from qcompile.passes.rewriter import BindingRewriter, dtype_of, shape_of
from qcompile.passes.vta_graph import VtaGraph, image_shape, variables_of
from qcompile.passes.vta_layers import vta_layers
from qcompile.passes.vta_segments import VtaRun, VtaRuns, vta_runs, with_names_of_their_own
from qcompile.passes.vta_windows import Gathered
from qcompile.schedules.blocked import (
    SUM_BITS,
    Blocks,
    blocked,
    codes_of_blocks,
    gathered,
    sums_of_blocks,
)
from qcompile.targets.vta.config import Config
from qcompile.targets.vta.layers import Segment, VtaTensor
from qcompile.targets.vta.planner.digits import digit_count

SEGMENT = "qcompile.vta_segment"
OPAQUE = 8  # TVM's pattern kind: nothing fuses with it


@dataclass(frozen=True)
class Partition:
    """The host's part, and the segments that it calls, in the order of their calls.

    products: by the name of a segment's layer, those of the convolutions and products in it.
    """

    mod: IRModule
    segments: tuple[Segment, ...]
    products: Mapping[str, tuple[str, ...]]


def partition_vta(mod: IRModule, config: Config, on_host: Collection[str] = ()) -> Partition:
    """VTA's part of `main`, without the layers of those names, and the rest."""
    mod, graph, runs = _runs(mod, config, on_host)
    function = mod["main"]
    rewriter = _Partition(graph, runs.runs, runs.host)
    others = {var: f for var, f in mod.functions.items() if not isinstance(f, relax.Function)}
    rewriter.builder = relax.BlockBuilder(IRModule(others))
    made = rewriter.transform(function)
    functions = rewriter.builder.get().functions
    kernels = {var: f for var, f in functions.items() if not isinstance(f, relax.Function)}
    main = next(var for var in mod.functions if str(var.name_hint) == "main")
    return Partition(
        relax.transform.DeadCodeElimination()(IRModule({**kernels, main: made}, attrs=mod.attrs)),
        tuple(run.segment for run in rewriter.called),
        {layer.layer.name: layer.products for run in rewriter.called for layer in run.layers},
    )


def vta_part(mod: IRModule, config: Config) -> tuple[VtaRun, ...]:
    """VTA's part of `main` alone, as `partition_vta` divides it, in a small part of its time."""
    return _runs(mod, config, ())[2].runs


def _runs(
    mod: IRModule, config: Config, on_host: Collection[str]
) -> tuple[IRModule, VtaGraph, VtaRuns]:
    """The module without what nothing needs, and the layers of VTA that run in one go."""
    if config.inp_width > 8:
        raise Unsupported(
            f"VTA {config.name}: INP of {config.inp_width} bits; codes have up to 8, and "
            "LOG_INP_WIDTH up to 3 holds them"
        )
    mod = relax.transform.DeadCodeElimination()(mod)
    function = mod["main"]
    graph = VtaGraph(function, config)
    layers = with_names_of_their_own(graph, vta_layers(graph))
    layers = [layer for layer in layers if layer.layer.name not in on_host]
    return mod, graph, vta_runs(graph, layers, function.body.body)


class _Partition(BindingRewriter):
    """Rebuilds the function; a segment is called where its first output is needed."""

    def __init__(
        self, graph: VtaGraph, runs: Sequence[VtaRun], host: Collection[relax.Var]
    ) -> None:
        super().__init__()
        self._graph = graph
        self._runs = {layer.output: run for run in runs for layer in run.layers}
        self._needed = host
        self._blocks: dict[relax.Var, relax.Var] = {}  # tensors in VTA's layout
        self.called: list[VtaRun] = []

    def transform(self, function: relax.Function) -> relax.Function:
        attributes = dict(function.attrs or {})
        private = "global_symbol" not in attributes
        symbol = str(attributes.get("global_symbol", "main"))
        self._names = {str(parameter.name) for parameter in function.params}
        with self.builder.function(symbol, list(function.params), attributes, private=private):
            with self.builder.dataflow():
                for parameter in function.params:
                    self._replacements[parameter] = parameter
                for var in self._graph.values:
                    if var in self._needed:
                        self._host(var)
                output = self.builder.emit_output(self._substitute(function.body.body))
            self.builder.emit_func_output(output)
        return self.builder.get()[symbol]

    def _host(self, var: relax.Var) -> None:
        """Bind a variable as the host has it, after what it is computed from."""
        if var in self._replacements:
            return
        name = self._graph.name(var)
        if var in self._runs:
            self._replacements[var] = self.emit(self._unblocked(var), name)
            return
        value = self._graph.values[var]
        for read in variables_of(value):
            self._host(read)
        self._replacements[var] = self.emit(self._substitute(value), name)

    def _in_blocks(self, var: relax.Var) -> relax.Var:
        """A tensor in VTA's layout."""
        if var not in self._blocks and var in self._runs:
            self._call(self._runs[var])
        elif var not in self._blocks:
            self._host(var)
            self._blocks[var] = self._blocked(var)
        return self._blocks[var]

    def _call(self, run: VtaRun) -> None:
        """Call a segment; its outputs are then tensors in VTA's layout."""
        inputs = [
            self._gathered(var, run.windows[var]) if var in run.windows else self._in_blocks(var)
            for var in run.inputs
        ]
        shapes = [self._blocks_of(var).shape(image_shape(var)) for var in run.outputs]
        types = [relax.TensorType(shape, "uint8") for shape in shapes]
        function = _extern(run.segment.name, [shape_of(x) for x in inputs], shapes)
        name = self.builder.add_func(function, "vta_segment")
        call = self.emit(relax.call_tir(name, inputs, types[0] if len(types) == 1 else types))
        self.called.append(run)
        for k, var in enumerate(run.outputs):
            item = call if len(types) == 1 else self.emit(relax.TupleGetItem(call, k))
            self._blocks[var] = item

    def _blocks_of(self, var: relax.Var) -> Blocks:
        return self._blocks_for(self._graph.tensor(var))

    def _blocks_for(self, tensor: VtaTensor) -> Blocks:
        config = self._graph.config
        width = config.inp_width
        planes = SUM_BITS // width
        if tensor.dtype == "codes":
            planes = digit_count(tensor.low, tensor.high, width)
        return Blocks(planes, config.batch, config.block_in, width)

    def _gathered(self, var: relax.Var, found: Gathered) -> relax.Var:
        """An input that the host gathers, in VTA's layout."""
        self._host(var)
        tensor, blocks = found.tensor, self._blocks_for(found.tensor)

        def compute(x: te.Tensor) -> te.Tensor:
            return gathered(x, tensor.shape, found.windows, blocks, tensor.offset)

        # What makes the image is not computed again for each window that it is in.
        pattern = OUT_ELEMENTWISE_FUSABLE
        return self.emit(self._kernel(compute, self._replacements[var], "vta_gathered", pattern))

    def _blocked(self, var: relax.Var) -> relax.Var:
        blocks, offset = self._blocks_of(var), self._graph.tensor(var).offset
        shape = image_shape(var)

        def compute(x: te.Tensor) -> te.Tensor:
            return blocked(x, shape, blocks, offset)

        return self.emit(self._kernel(compute, self._replacements[var], "vta_blocked"))

    def _unblocked(self, var: relax.Var) -> relax.Expr:
        blocks, offset = self._blocks_of(var), self._graph.tensor(var).offset
        shape, result, dtype = image_shape(var), shape_of(var), dtype_of(var)
        data = self._in_blocks(var)

        def codes(x: te.Tensor) -> te.Tensor:
            return codes_of_blocks(x, shape, result, blocks, offset, dtype)

        def sums(x: te.Tensor) -> te.Tensor:
            return sums_of_blocks(x, shape, result, blocks)

        if dtype == "int32":
            return self._kernel(sums, data, "vta_sums")
        return self._kernel(codes, data, "vta_codes")

    def _kernel(
        self,
        compute: Callable[[te.Tensor], te.Tensor],
        argument: relax.Expr,
        hint: str,
        pattern: int = INJECTIVE,
    ) -> relax.Expr:
        return self.builder.call_te(
            compute, argument, primfunc_name_hint=hint, primfunc_attrs={DECLARED: pattern}
        )


def _extern(
    segment: str, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]
) -> tirx.PrimFunc:
    """The function that stands for a segment: one extern call on all its tensors."""
    arguments = [te.placeholder(shape, "uint8", name=f"in{k}") for k, shape in enumerate(inputs)]

    def call(ins: list[tirx.Var], outs: list[tirx.Var]) -> tirx.Expr:
        pointers = [buffer.access_ptr("rw") for buffer in (*ins, *outs)]
        return tirx.call_extern("int32", segment, *pointers)

    results = te.extern(outputs, arguments, call, name="segment", dtype=["uint8"] * len(outputs))
    made = results if isinstance(results, (list, tuple)) or len(outputs) > 1 else [results]
    function = te.create_prim_func([*arguments, *made])
    marks = {SEGMENT: segment, "tirx.is_scheduled": True, "op_pattern": OPAQUE}
    return function.without_attr("global_symbol").with_attr(marks)
