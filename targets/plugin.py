"""The target behind a `tvm.target.Target` that a user's own TVM flow brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qcompile.errors import UnknownTarget
from qcompile.targets.architecture import Architecture
from qcompile.targets.architectures import ARCHITECTURES
from qcompile.targets.host import host_architecture, host_features, widest_vectors
from qcompile.targets.loader import list_processors
from qcompile.targets.target import Target
from qcompile.targets.x86 import X86_64

if TYPE_CHECKING:
    import tvm


def target_of(target: tvm.target.Target) -> Target:
    """Ours for TVM's: by `mcpu`, with exactly the features that LLVM gives `mcpu` and `mattr`.

    Sizes and clock come from the target with that `mcpu`, or from the most modest one with at
    most those features. Raises UnknownTarget for other kinds and architectures, processors below
    the baseline of theirs, and targets without `mcpu`.
    """
    if str(target.kind.name) != "llvm":
        raise UnknownTarget(f"{target}: qcompile compiles for kind 'llvm' only")
    mcpu = str(target.attrs.get("mcpu", ""))
    if mcpu == "native":
        raise UnknownTarget(f"{target}: name the processor: mcpu={_native()!r} fits this machine")
    family = _architecture(target)
    if mcpu not in family.processors:
        known = ", ".join(family.processors)
        raise UnknownTarget(f"{target}: mcpu {mcpu!r} is not one of {known}")
    features = _llvm_features(target, family)
    if missing := [name for name in family.baseline if name not in features]:
        raise UnknownTarget(f"{target}: lacks {', '.join(missing)} ({family.level} needed)")
    facts = _of_processor(mcpu, family) or _nearest_below(features, family)
    wide = set(family.vectors[max(family.vectors)]) <= set(features)
    vector_bytes, registers = widest_vectors(family, features)
    return replace(
        facts,
        vector_bytes=min(facts.vector_bytes, vector_bytes) if wide else vector_bytes,
        vector_registers=registers,
        features=features,
        llvm={**facts.llvm, "mcpu": mcpu},
    )


def _of_processor(mcpu: str, family: Architecture) -> Target | None:
    """The named target of that `mcpu`."""
    known = list_processors()
    found = (t for t in known if t.architecture == family and t.llvm["mcpu"] == mcpu)
    return next(found, None)


def _architecture(target: tvm.target.Target) -> Architecture:
    """By the first part of LLVM's triple; x86-64 where it is not given."""
    triple = str(target.attrs.get("mtriple", "") or X86_64.triple)
    machine = triple.partition("-")[0]
    for known, family in ARCHITECTURES.items():
        if machine == known.partition("-")[0]:
            return family
    raise UnknownTarget(f"{target}: mtriple is none of {', '.join(ARCHITECTURES)}")


def _llvm_features(target: tvm.target.Target, family: Architecture) -> tuple[str, ...]:
    import tvm

    names = tvm.get_global_func("target.llvm_get_cpu_features")(target)
    found = {str(name) for name in names}
    return tuple(name for name in family.features if name in found)


def _nearest_below(features: tuple[str, ...], family: Architecture) -> Target:
    known = list_processors()
    return max(
        (target for target in known if target.architecture == family and target.runs_on(features)),
        key=lambda target: len(target.features),
    )


def _native() -> str:
    family, features = host_architecture() or X86_64, host_features()
    known = list_processors()
    fitting = [t for t in known if t.architecture == family and t.runs_on(features)]
    best = max(fitting, key=lambda target: len(target.features), default=None)
    return str(best.llvm["mcpu"]) if best else family.processors[0]
