"""Run a bundle on the samples of a file, in process or on a device."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from qcompile.arrays import Array, Samples, accuracy, npz_bytes, read_samples, run_samples
from qcompile.commands.manifest import Manifest, read_manifest
from qcompile.commands.progress import Progress, silent
from qcompile.commands.simulation import (
    expect_place,
    expect_plain,
    expect_simulated,
    simulate,
)
from qcompile.devices import LOCAL, SIM
from qcompile.errors import DeviceLost
from qcompile.files import expect_empty_folder, expect_writable, write_whole


@dataclass(frozen=True)
class Run:
    """The outputs by name, each (samples, ...); `accuracy` is None without labels."""

    samples: int
    outputs: dict[str, Array]
    accuracy: float | None


def run(
    bundle: str | Path,
    inputs: str | Path,
    *,
    outputs: str | Path | None = None,
    variant: str | None = None,
    threads: int | None = None,
    device: str = LOCAL,
    dump_vta: str | Path | None = None,
    progress: Progress = silent,
) -> Run:
    """Run the bundle in the folder `bundle` on the samples `inputs` (.npz or .npy).

    Writes the outputs by name to the .npz file `outputs` when given. `variant` is the network to
    run where the bundle has several; `device` is where it runs (see `open_device`): in this
    process, or by its executable. The device `sim` runs a bundle for VTA here, VTA simulated; the
    folder `dump_vta` then gets each segment's program and memory on the first sample. Raises
    QCompileError; when a device disappears, the outputs of the samples before are in a file beside
    `outputs`, named *.partial.npz.
    """
    if outputs is not None:
        expect_writable(outputs)
    manifest = read_manifest(bundle, variant)
    expect_place(manifest, device)
    expect_plain(device, threads=threads)
    if dump_vta is not None:
        expect_simulated(device, "--dump-vta")
        expect_empty_folder(dump_vta)
    samples = read_samples(inputs, manifest.inputs)
    threads = manifest.threads if threads is None else threads
    if device == SIM:
        found = simulate(manifest, samples, dump_vta, progress)
    elif device == LOCAL:
        found = _in_process(manifest, samples, threads, progress)
    else:
        found = _on_device(manifest, samples, threads, device, outputs, progress)
    if outputs is not None:
        write_whole(outputs, npz_bytes(found))
    first = next(iter(found.values()))
    score = None if samples.labels is None else accuracy(first, samples.labels)
    return Run(samples.count, found, score)


def _in_process(
    manifest: Manifest, samples: Samples, threads: int, progress: Progress
) -> dict[str, Array]:
    from qcompile.bundle import load

    network = load(manifest.folder, variant=manifest.variant, threads=threads)
    return run_samples(
        network.run,
        samples,
        manifest.inputs,
        [output.name for output in manifest.outputs],
        lambda done, total: progress("running", done, total),
    )


def _on_device(
    manifest: Manifest,
    samples: Samples,
    threads: int,
    device: str,
    outputs: str | Path | None,
    progress: Progress,
) -> dict[str, Array]:
    from qcompile.commands.placed import place
    from qcompile.commands.samples_on_device import LostWithSamples, run_on_device

    with closing(place(device, manifest)) as placed:
        try:
            return run_on_device(
                placed, samples, threads, lambda done, total: progress("running", done, total)
            )
        except LostWithSamples as error:
            told = f"{error}; {error.count} of {samples.count} samples were done"
            if outputs is None:
                raise DeviceLost(f"{told}: --outputs FILE would have kept them") from error
            partial = Path(outputs).with_suffix(".partial.npz")
            write_whole(partial, npz_bytes(error.outputs))
            raise DeviceLost(f"{told}: their outputs are in {partial}") from error
