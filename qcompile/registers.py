"""Float operators whose values stay in registers.

A group is elementwise float operators that read each other, and the dequantizes of integer sums
that they read. Fused to one kernel it writes no float tensor, where

- everything else it reads is a constant or codes,
- its sums are those of one kernel at most, whose epilogue it is then,
- all of it has one shape, and one quantize alone reads it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import tvm
from tvm import relax

from qcompile.ops.contractions import BATCH_MATMUL, CONV2D, DENSE
from qcompile.ops.pool import SUM_POOL2D
from qcompile.ops.quantize import DEQUANTIZE, QUANTIZE
from qcompile.passes.channels_last import BINARY, UNARY
from qcompile.passes.facts import constant
from qcompile.passes.rewriter import dtype_of, operator_name, shape_of

ELEMENTWISE = {*UNARY, *BINARY, "relax.nn.prelu", "relax.nn.relu6"}
KERNELS = (CONV2D, DENSE, BATCH_MATMUL, SUM_POOL2D)
RESHAPE = "relax.reshape"
SUM_BITS = 32

Definitions = Mapping[relax.Var, relax.Expr]


def registers(function: relax.Function) -> dict[relax.Var, str]:
    """Why an operator writes no float tensor, for the operators that write none."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    definitions = {binding.var: binding.value for binding in bindings}
    readers: defaultdict[relax.Var, list[relax.Expr]] = defaultdict(list)
    for value in (*definitions.values(), function.body.body):
        for var in _variables(value):
            readers[var].append(value)
    reasons = {}
    for group in _groups(definitions):
        reason = _reason(group, definitions, readers)
        reasons.update(dict.fromkeys(group, reason) if reason else {})
    return reasons


def _variables(value: relax.Expr) -> list[relax.Var]:
    """The variables that an expression reads, each once."""
    found: dict[relax.Var, None] = {}
    parts = list(value.args) if isinstance(value, tvm.ir.Call) else [value]
    while parts:
        part = parts.pop()
        if isinstance(part, relax.Var):
            found[part] = None
        elif isinstance(part, relax.Tuple):
            parts.extend(part.fields)
        elif isinstance(part, relax.TupleGetItem):
            parts.append(part.tuple_value)
    return list(found)


def _groups(definitions: Definitions) -> Iterable[set[relax.Var]]:
    """Elementwise float operators and dequantized sums, joined where one reads another."""
    groups: dict[relax.Var, set[relax.Var]] = {}
    for var, value in definitions.items():
        if not _joins(value, definitions):
            continue
        group = {var}
        for read in _variables(value) if operator_name(value) != DEQUANTIZE else ():
            group |= groups.get(read, set())
        groups.update(dict.fromkeys(group, group))
    return {id(group): group for group in groups.values()}.values()


def _joins(value: relax.Expr, definitions: Definitions) -> bool:
    if operator_name(value) == DEQUANTIZE:
        sums = int(value.attrs["bits"]) == SUM_BITS
        return sums and not _is_constant(value.args[0], definitions)
    return operator_name(value) in ELEMENTWISE and dtype_of(value) == "float32"


def _reason(
    group: set[relax.Var],
    definitions: Definitions,
    readers: Mapping[relax.Var, list[relax.Expr]],
) -> str:
    calls = [definitions[var] for var in group]
    inside = {id(call) for call in calls}
    outside = [r for var in group for r in readers[var] if id(r) not in inside]
    if len(outside) != 1 or operator_name(outside[0]) != QUANTIZE:
        return ""
    if len({shape_of(call) for call in calls}) != 1:
        return ""
    elementwise = [call for call in calls if operator_name(call) != DEQUANTIZE]
    operands = {var for call in elementwise for var in _variables(call)} - group
    if not all(_is_integer(operand, definitions) for operand in operands):
        return ""
    sums = {call.args[0] for call in calls if operator_name(call) == DEQUANTIZE}
    kernels = {_kernel(total, definitions) for total in sums} - {""}
    if len(kernels) > 1:
        return ""
    place = f"in the epilogue of {kernels.pop()}" if kernels else "from codes to codes"
    return f"float32 in registers, {place}; no float tensor is written"


def _is_integer(value: relax.Expr, definitions: Definitions) -> bool:
    """Whether a value is constant, or codes that are dequantized."""
    if _is_constant(value, definitions):
        return True
    return value in definitions and operator_name(definitions[value]) == DEQUANTIZE


def _is_constant(value: relax.Expr, definitions: Definitions) -> bool:
    """Whether a value is a constant, dequantized or in another shape."""
    found = definitions.get(value, value) if isinstance(value, relax.Var) else value
    if operator_name(found) in (DEQUANTIZE, RESHAPE):
        return _is_constant(found.args[0], definitions)
    return constant(found) is not None


def _kernel(sums: relax.Expr, definitions: Definitions) -> str:
    """The layer whose kernel makes these sums, "" where it has no epilogue."""
    if sums not in definitions:
        return ""
    found = definitions[sums]
    if operator_name(found) == "relax.subtract":
        return _kernel(found.args[0], definitions)
    if operator_name(found) not in KERNELS:
        return ""
    return str(sums.name) if operator_name(found) == SUM_POOL2D else str(found.attrs["layer"])
