"""The target behind a `tvm.target.Target` that a user's own TVM flow brings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qcompile.errors import UnknownTarget
from qcompile.targets.host import host_features
from qcompile.targets.loader import list_targets, load_target
from qcompile.targets.target import Target
from qcompile.targets.x86 import BASELINE, FEATURES, PROCESSORS, WIDE

if TYPE_CHECKING:
    import tvm


def target_of(target: tvm.target.Target) -> Target:
    """Ours for TVM's: by `mcpu`, with exactly the features that LLVM gives `mcpu` and `mattr`.

    Sizes and clock come from the target of the same name, or from the most modest one with at
    most those features. Raises UnknownTarget for other kinds, processors below x86-64-v3, and
    targets without `mcpu`.
    """
    if str(target.kind.name) != "llvm":
        raise UnknownTarget(f"{target}: qcompile compiles for kind 'llvm' only")
    mcpu = str(target.attrs.get("mcpu", ""))
    if mcpu == "native":
        raise UnknownTarget(f"{target}: name the processor: mcpu={_native()!r} fits this machine")
    if mcpu not in PROCESSORS:
        raise UnknownTarget(f"{target}: mcpu {mcpu!r} is not one of {', '.join(PROCESSORS)}")
    features = _llvm_features(target)
    if missing := [name for name in BASELINE if name not in features]:
        raise UnknownTarget(f"{target}: lacks {', '.join(missing)} (x86-64-v3 needed)")
    facts = load_target(mcpu) if mcpu in list_targets() else _nearest_below(features)
    wide = set(WIDE) <= set(features)
    return replace(
        facts,
        vector_bytes=min(facts.vector_bytes, 64) if wide else 32,
        vector_registers=32 if wide else 16,
        features=features,
        llvm={**facts.llvm, "mcpu": mcpu},
    )


def _llvm_features(target: tvm.target.Target) -> tuple[str, ...]:
    import tvm

    names = tvm.get_global_func("target.llvm_get_cpu_features")(target)
    found = {str(name) for name in names}
    return tuple(name for name in FEATURES if name in found)


def _nearest_below(features: tuple[str, ...]) -> Target:
    known = [load_target(name) for name in list_targets()]
    return max(
        (target for target in known if target.runs_on(features)),
        key=lambda target: len(target.features),
    )


def _native() -> str:
    features = host_features()
    known = [load_target(name) for name in list_targets()]
    fitting = [target for target in known if target.runs_on(features)]
    best = max(fitting, key=lambda target: len(target.features), default=None)
    return str(best.llvm["mcpu"]) if best else "x86-64-v3"
