"""Samples through a bundle on a device, many in each call of its program."""

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from qcompile.arrays import Array, Samples, batch_size, batches, join_runs
from qcompile.commands.placed import Placed
from qcompile.errors import BundleError, DeviceLost

# What one call takes: a device that disappears loses the samples of one call.
CALL_S = 2.0
CALL_BYTES = 16 * 2**20


class LostWithSamples(DeviceLost):
    """The device is gone; `outputs` are those of the first `count` samples."""

    def __init__(self, message: str, count: int, outputs: dict[str, Array]) -> None:
        super().__init__(message)
        self.count = count
        self.outputs = outputs


def run_on_device(
    placed: Placed,
    samples: Samples,
    threads: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Array]:
    """All samples through the bundle, by the names of its outputs.

    Raises LostWithSamples when the device disappears after the first call.
    """
    manifest = placed.manifest
    batch = batch_size(manifest.inputs)
    names = [output.name for output in manifest.outputs]
    waiting, runs, done, at_once = batches(samples, batch), list[list[Array]](), 0, 1
    while done < samples.count:
        try:
            found, seconds = _call(placed, list(islice(waiting, at_once)), threads)
        except DeviceLost as error:
            if not runs:
                raise
            outputs = join_runs(runs, names, batch, done)
            raise LostWithSamples(str(error), done, outputs) from error
        runs += found
        at_once = _fitting(placed, max(seconds / len(found), 1e-9))
        done = min(len(runs) * (batch or 1), samples.count)
        progress(done, samples.count)
    return join_runs(runs, names, batch, samples.count)


def _fitting(placed: Placed, seconds: float) -> int:
    """How many runs of so many seconds one call takes."""
    specs = (*placed.manifest.inputs, *placed.manifest.outputs)
    run_bytes = sum(np.dtype(s.dtype).itemsize * int(np.prod(s.shape)) for s in specs)
    return max(1, min(int(CALL_S / seconds), CALL_BYTES // max(run_bytes, 1)))


def _call(
    placed: Placed, inputs: Sequence[dict[str, Array]], threads: int
) -> tuple[list[list[Array]], float]:
    """The outputs of each run, and the seconds of all of them."""
    manifest, device = placed.manifest, placed.device
    options = ["--samples", str(len(inputs)), "--threads", str(threads)]
    for k, spec in enumerate(manifest.inputs):
        device.send(f"input_{k}", b"".join(run[spec.name].tobytes() for run in inputs))
        options += ["--input", f"input_{k}"]
    for k in range(len(manifest.outputs)):
        options += ["--output", f"output_{k}"]
    answer = placed.call(*options)
    whole = []
    for k, spec in enumerate(manifest.outputs):
        content = device.fetch(f"output_{k}")
        expected = len(inputs) * np.dtype(spec.dtype).itemsize * int(np.prod(spec.shape))
        if len(content) != expected:
            raise BundleError(
                f"{device.name}: output {spec.name!r} has {len(content)} bytes; {expected} expected"
            )
        whole.append(np.frombuffer(content, spec.dtype).reshape(len(inputs), *spec.shape))
    return [[output[k] for output in whole] for k in range(len(inputs))], sum(answer["seconds"])
