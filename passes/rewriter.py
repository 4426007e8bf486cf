"""Rebuild a Relax function binding by binding.

A pass derives from `BindingRewriter` and answers one question: what becomes of this call, whose
arguments have been rewritten already? Names of bindings survive, because they carry the names of
the model's layers.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import count

import tvm
from tvm import relax
from tvm.ir import IRModule, Op

OUTPUT = "output"
ITEM = "item of a tuple"


class BindingRewriter:
    """Base of the passes: override `rewrite`."""

    def __init__(self) -> None:
        self.builder = relax.BlockBuilder()
        self.reading: relax.Var | None = None  # the binding that `rewrite` is asked about
        self._names: set[str] = set()
        self._given: set[str] = set()  # names of the function being read
        self._definitions: dict[relax.Var, relax.Expr] = {}
        self._replacements: dict[relax.Var, relax.Expr] = {}
        self._readers: defaultdict[relax.Var, list[str]] = defaultdict(list)
        self.reads: dict[relax.Expr, int] = {}  # of a rewritten variable: readers it had before
        self.read_by: defaultdict[relax.Expr, list[str]] = defaultdict(
            list
        )  # the same, their names

    def rewrite(self, call: tvm.ir.Call, name: str) -> relax.Expr | None:
        """What takes the place of `call`, bound to a variable `name`; None leaves it as it is."""
        raise NotImplementedError

    def result(self, value: relax.Expr) -> relax.Expr:
        """What the function returns in place of `value`, which is rewritten already."""
        return value

    def emit(self, expression: relax.Expr, name: str = "") -> relax.Var:
        """Bind an expression of the rewritten function to a variable of exactly that name.

        BlockBuilder.emit would turn dots into underscores. A name that is taken gets a number.
        """
        if not name:
            var = self.builder.emit(expression)
        else:
            expression = self.builder.normalize(expression)
            var = relax.DataflowVar(self._free(name), expression.ty)
            self.builder.emit_normalized(relax.VarBinding(var, expression))
        self._definitions[var] = self.builder.lookup_binding(var)
        return var

    def replace(self, var: relax.Var, expression: relax.Expr) -> relax.Var:
        """Bind an expression under the name of `var`, which nothing must read any more."""
        self._names.discard(str(var.name))
        return self.emit(expression, str(var.name))

    def _free(self, name: str) -> str:
        """`name`, or with a number behind it where it is taken, and no other binding has it."""
        free = name
        if name in self._names:
            taken = self._names | self._given
            free = next(each for n in count(1) if (each := f"{name}_{n}") not in taken)
        self._names.add(free)
        return free

    def definition(self, expression: relax.Expr) -> relax.Expr:
        """The call or constant behind a variable of the rewritten function."""
        while isinstance(expression, relax.Var) and expression in self._definitions:
            expression = self._definitions[expression]
        return expression

    def call_of(self, expression: relax.Expr, *operators: str) -> tvm.ir.Call | None:
        """The call behind `expression` when it is one of `operators`."""
        found = self.definition(expression)
        return found if operator_name(found) in operators else None

    def fields(self, expression: relax.Expr) -> list[relax.Expr]:
        """What a tuple holds; nothing where a call made it."""
        found = self.definition(expression)
        return list(found.fields) if isinstance(found, relax.Tuple) else []

    def readers(self, var: relax.Var) -> list[str]:
        """The operators that read a variable of the function being read; OUTPUT for its result."""
        return self._readers[var]

    def transform(self, function: relax.Function) -> relax.Function:
        """The rewritten function; one with control flow or effects is returned as it is."""
        blocks = function.body.blocks
        if not function.is_pure or not all(_plain(b) for block in blocks for b in block.bindings):
            return function
        self._note_readers(function)
        self._given = {str(binding.var.name) for block in blocks for binding in block.bindings}
        attributes = dict(function.attrs or {})
        private = "global_symbol" not in attributes
        symbol = str(attributes.get("global_symbol", "main"))
        with self.builder.function(symbol, list(function.params), attributes, private=private):
            with self.builder.dataflow():
                for block in blocks:
                    for binding in block.bindings:
                        self._rebind(binding)
                result = self.result(self._substitute(function.body.body))
                output = self.builder.emit_output(result)
            self.builder.emit_func_output(output)
        return self.builder.get()[symbol]

    def _rebind(self, binding: relax.VarBinding) -> None:
        value = self._substitute(binding.value)
        name = str(binding.var.name)
        if isinstance(value, tvm.ir.Call):
            self.reading = binding.var
            value = self.builder.normalize(value)
            rewritten = self.rewrite(value, name)
            value = value if rewritten is None else rewritten
        if isinstance(value, relax.TupleGetItem):
            fields = self.definition(value.tuple_value)
            value = fields.fields[value.index] if isinstance(fields, relax.Tuple) else value
        if not isinstance(value, relax.Var):
            value = self.emit(value, name)
        self._replacements[binding.var] = value
        if isinstance(value, relax.Var):
            self.reads[value] = self.reads.get(value, 0) + len(self._readers[binding.var])
            self.read_by[value].extend(self._readers[binding.var])

    def _substitute(self, expression: relax.Expr) -> relax.Expr:
        if isinstance(expression, relax.Var):
            return self._replacements.get(expression, expression)
        if isinstance(expression, relax.Tuple):
            return relax.Tuple([self._substitute(field) for field in expression.fields])
        if isinstance(expression, relax.TupleGetItem):
            return relax.TupleGetItem(self._substitute(expression.tuple_value), expression.index)
        if isinstance(expression, tvm.ir.Call):
            arguments = [self._substitute(argument) for argument in expression.args]
            if all(new.same_as(old) for new, old in zip(arguments, expression.args, strict=True)):
                return expression
            return tvm.ir.Call(expression.op, arguments, expression.attrs, expression.ty_args)
        return expression

    def _note_readers(self, function: relax.Function) -> None:
        def note(expression: relax.Expr, reader: str) -> None:
            if isinstance(expression, relax.Var):
                self._readers[expression].append(reader)
            elif isinstance(expression, relax.Tuple):
                for field in expression.fields:
                    note(field, reader)

        for block in function.body.blocks:
            for binding in block.bindings:
                value = binding.value
                if isinstance(value, tvm.ir.Call):
                    for argument in value.args:
                        note(argument, operator_name(value))
                elif isinstance(value, relax.TupleGetItem):
                    note(value.tuple_value, ITEM)
                else:
                    note(value, OUTPUT)
        note(function.body.body, OUTPUT)


def _plain(binding: relax.Binding) -> bool:
    """Whether a binding names the value of a call, tuple or constant."""
    return isinstance(binding, relax.VarBinding) and not isinstance(
        binding.value, (relax.If, relax.Function)
    )


def operator_name(expression: relax.Expr) -> str:
    """The name of the operator called, or "" when `expression` is no operator call."""
    if isinstance(expression, tvm.ir.Call) and isinstance(expression.op, Op):
        return str(expression.op.name)
    return ""


def shape_of(expression: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression."""
    return tuple(int(extent) for extent in expression.ty.shape)


def dtype_of(expression: relax.Expr) -> str:
    return str(expression.ty.dtype.dtype)


def rewrite_functions(mod: IRModule, rewriter: Callable[[], BindingRewriter]) -> IRModule:
    """Every Relax function of `mod` through a rewriter of its own, without dead bindings."""
    mod = relax.transform.DeadCodeElimination()(mod)
    functions = {var: f for var, f in mod.functions.items() if isinstance(f, relax.Function)}
    kernels = IRModule({var: f for var, f in mod.functions.items() if var not in functions})
    rewritten = {}
    for var, function in functions.items():
        instance = rewriter()
        instance.builder = relax.BlockBuilder(kernels)
        rewritten[var] = instance.transform(function)
        made = instance.builder.get().functions.items()
        kernels = IRModule({var: f for var, f in made if not isinstance(f, relax.Function)})
    return IRModule({**kernels.functions, **rewritten}, attrs=mod.attrs)
