"""Estimate a bundle's cycles on the modelled core of a target: no measurement, no board."""

import json
from dataclasses import dataclass
from pathlib import Path

from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.placed import executable
from qcompile.errors import BundleError, DeviceError
from qcompile.model_device import Estimate, StepEstimate, estimate
from qcompile.targets import load_processor

KIND = "model:"  # and the name of a target

# The second inference counts: it finds its data in the caches where the first one left it.
OPTIONS = ("--json", "--per-layer", "--warmup", "0", "--repeat", "1")


@dataclass(frozen=True)
class ModelledLayer:
    """One kernel call. stall_cycles and stream_cycles are the parts that memory has in it."""

    name: str
    kernel: str
    macs: int
    cycles: float
    instructions: float
    stream_cycles: float
    stall_cycles: float
    share: float


@dataclass(frozen=True)
class ModelBench:
    """A modelled inference on one core of `core`, which says nothing exact of any board."""

    manifest: Manifest
    device: str
    core: str
    clock_hz: float
    cycles: float
    instructions: float
    unmodelled: float
    layers: list[ModelledLayer]

    @property
    def modelled_s(self) -> float:
        """The modelled cycles at the target's clock: no time that any board took."""
        return self.cycles / self.clock_hz


def model_bench(bundle: str | Path, device: str, variant: str | None = None) -> ModelBench:
    """The modelled cycles of one inference of the bundle; `device` is model:TARGET.

    Raises DeviceError when the bundle is of another architecture than the target or needs what it
    lacks, BundleError when its program is missing, ModelError when the model is impossible here.
    """
    manifest = read_manifest(bundle, variant)
    if manifest.vta is not None:
        raise DeviceError(
            f"{device}: models a processor alone; {manifest.folder} needs VTA: --device sim"
        )
    target = load_processor(device.removeprefix(KIND))
    if manifest.architecture != target.architecture.name:
        raise DeviceError(
            f"{device}: {manifest.folder} is compiled for {manifest.architecture}, "
            f"the modelled core is {target.architecture.name}; compile it for {target.name}"
        )
    if missing := [name for name in manifest.features if name not in target.features]:
        raise DeviceError(
            f"{device}: {target.name} lacks {', '.join(missing)}, which the code of "
            f"{manifest.folder} uses; compile it for {target.name}"
        )
    program = executable(manifest)
    if not program.is_file():
        raise BundleError(f"{program}: there is no such file; compile the model again")
    options = OPTIONS if variant is None else (*OPTIONS, "--variant", variant)
    found = estimate(program, target, options, warmup=1)
    return ModelBench(
        manifest=manifest,
        device=device,
        core=found.core.name,
        clock_hz=target.clock_hz,
        cycles=found.cycles,
        instructions=found.instructions,
        unmodelled=found.unmodelled,
        layers=_layers(manifest, found),
    )


def _layers(manifest: Manifest, found: Estimate) -> list[ModelledLayer]:
    facts = {layer["name"]: layer for layer in manifest.layers}
    steps = {step.step: step for step in found.steps}
    layers = []
    for call in json.loads(found.output)["layers"]:
        own: list[StepEstimate] = [steps[number] for number in call["steps"]]
        fact = facts.get(call["name"], {})
        cycles = sum(step.cycles for step in own)
        layers.append(
            ModelledLayer(
                name=call["name"],
                kernel=str(fact.get("kernel", "")),
                macs=int(fact.get("macs", 0)),
                cycles=cycles,
                instructions=sum(step.instructions for step in own),
                stream_cycles=sum(step.stream_cycles for step in own),
                stall_cycles=sum(step.stall_cycles for step in own),
                share=cycles / found.cycles,
            )
        )
    return layers
