"""Find faster decisions for a model's kernels by measuring them on devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qcompile.devices import LOCAL
from qcompile.devices.opening import SIM
from qcompile.errors import InvalidInput
from qcompile.targets import Target, VtaTarget, host_architecture, host_features, load_target
from qcompile.threads import expect_threads
from qcompile.tuning import TRIALS

if TYPE_CHECKING:
    from qcompile.tuning.result import TuneResult, Watcher


def tune(
    model: str | Path,
    target: str | Target | VtaTarget,
    records: str | Path,
    *,
    trials: int = TRIALS,
    devices: Sequence[str] | None = None,
    threads: int = 1,
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    watcher: Watcher | None = None,
) -> TuneResult:
    """Measure up to `trials` new candidates of the kernels of an ONNX file; what was found.

    The folder `records` gets every measurement at once, and what it holds is not measured again.
    `devices` measure side by side and must be of one kind (see `open_device`, and "model:TARGET");
    by default this machine, or the simulator for boards with VTA, which nothing else measures.
    Kernels run on `threads` threads, and the records count for bundles compiled for as many.
    `batch` and `shapes` fill dimensions that the model leaves open. `watcher` is told how it goes.
    Raises QCompileError before anything is measured. A device that is lost later ends the tuning:
    `interrupted` of the result says so. Ctrl-C raises TuningInterrupted, a KeyboardInterrupt with
    the result so far. Either way the same call goes on from there.
    """
    if trials < 1:
        raise InvalidInput(f"trials is {trials}; at least 1 is needed")
    expect_threads(threads)
    if seed < 0:
        raise InvalidInput(f"seed is {seed}; at least 0 is needed")
    if devices is not None and not devices:
        raise InvalidInput("no device is given; this machine is 'local'")
    target = load_target(target) if isinstance(target, str) else target
    if isinstance(target, VtaTarget):
        _expect_simulator(target, devices)
        if threads > 1:
            raise InvalidInput(f"threads is {threads}: {target.name} simulates one VTA, with 1")
        from qcompile.tuning.vta_tune import tune_network_for_vta

        return tune_network_for_vta(
            Path(model),
            target,
            Path(records),
            trials=trials,
            seed=seed,
            batch=batch,
            shapes=shapes,
            watcher=watcher,
        )
    devices = devices or (LOCAL,)
    if SIM in devices:
        raise InvalidInput(
            f"{SIM}: simulates VTA, and {target.name} is a processor; tune a target of the name "
            f"vta-… there, and {target.name} on local, ssh://…, adb:…, rpc://… or model:TARGET"
        )
    if LOCAL in devices:
        _expect_runs_here(target)
    from qcompile.tuning.tune import tune_network

    return tune_network(
        Path(model),
        target,
        Path(records),
        trials=trials,
        devices=devices,
        threads=threads,
        seed=seed,
        batch=batch,
        shapes=shapes,
        watcher=watcher,
    )


def _expect_simulator(target: VtaTarget, devices: Sequence[str] | None) -> None:
    others = [name for name in devices or () if name != SIM]
    if others:
        raise InvalidInput(
            f"{others[0]}: {target.name} is tuned by simulated cycles: --device {SIM} works"
        )
    if devices is not None and len(devices) > 1:
        raise InvalidInput(f"{SIM} is given {len(devices)} times: it simulates on this machine")


def _expect_runs_here(target: Target) -> None:
    here = host_architecture()
    lacking = [name for name in target.features if name not in host_features()]
    if here == target.architecture and not lacking:
        return
    reason = f"it lacks {', '.join(lacking)}"
    if here != target.architecture:
        reason = f"its programs are for {target.architecture.name}"
    from qcompile.tuning.stations import has_model

    modelled = f", or the model of its core, model:{target.name}" if has_model(target) else ""
    raise InvalidInput(
        f"{target.name}: this machine cannot measure its kernels: {reason}; name a device that "
        f"can: ssh://user@host, adb:SERIAL or rpc://tracker:port/key{modelled}"
    )
