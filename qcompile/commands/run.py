"""Run a bundle in process on the samples of a file."""

from dataclasses import dataclass
from pathlib import Path

from qcompile.arrays import Array, accuracy, npz_bytes, read_samples, run_samples
from qcompile.commands.manifest import read_manifest
from qcompile.commands.progress import Progress, silent
from qcompile.files import expect_writable, write_whole


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
    progress: Progress = silent,
) -> Run:
    """Run the bundle in the folder `bundle` on the samples `inputs` (.npz or .npy).

    Writes the outputs by name to the .npz file `outputs` when given. `variant` is the network to
    run where the bundle has several. Raises QCompileError.
    """
    from qcompile.bundle import load

    if outputs is not None:
        expect_writable(outputs)
    manifest = read_manifest(bundle, variant)
    samples = read_samples(inputs, manifest.inputs)
    network = load(bundle, variant=variant)
    if threads is not None:
        network.set_threads(threads)
    found = run_samples(
        network.run,
        samples,
        manifest.inputs,
        [output.name for output in manifest.outputs],
        lambda done, total: progress("running", done, total),
    )
    if outputs is not None:
        write_whole(outputs, npz_bytes(found))
    first = next(iter(found.values()))
    score = None if samples.labels is None else accuracy(first, samples.labels)
    return Run(samples.count, found, score)
