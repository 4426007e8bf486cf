"""The tasks of an ONNX file for a target."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tvm

from qcompile.errors import InvalidInput
from qcompile.frontend import import_onnx
from qcompile.measure.host_costs import costs_for
from qcompile.pipeline import integer_form_passes, lower_passes, own_form_passes, task_passes
from qcompile.targets import Target
from qcompile.tuning.tasks import Task, extract_tasks
from qcompile.tvm_errors import register_errors


def tasks_of(
    model: Path,
    target: Target,
    say: Callable[[str], None],
    threads: int = 1,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[Task]:
    """The kernels that `compile` would make for so many threads, with more than one possible form,
    each once.

    Raises QCompileError where the model cannot be compiled, InvalidInput where nothing can be
    decided.
    """
    register_errors()
    say("reading the model")
    imported = import_onnx(model, batch=batch, shapes=shapes)
    say("integer form")
    integer_form = _run(imported.mod, [*own_form_passes(), *integer_form_passes()])
    costs = costs_for(target, integer_form, say)
    say("kernels")
    fused = _run(integer_form, [*lower_passes(target, costs), *task_passes()])
    tasks = [task for task in extract_tasks(fused, target, threads) if task.space.size > 1]
    if not tasks:
        raise InvalidInput(
            f"{model}: none of its kernels can be tuned; convolutions, products and pooling can"
        )
    return tasks


def _run(mod: tvm.IRModule, passes: Sequence[tvm.transform.Pass]) -> tvm.IRModule:
    return tvm.transform.Sequential(list(passes))(mod)
