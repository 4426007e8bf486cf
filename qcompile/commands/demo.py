"""Compile the bundled networks for this machine and run them on the bundled images."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from qcompile.arrays import Array, accuracy, npz_bytes, run_samples, take_samples
from qcompile.commands.compile import compile
from qcompile.commands.own_bench import OwnBench
from qcompile.commands.peers import Peer
from qcompile.commands.progress import Progress, silent
from qcompile.commands.race import Contender, race
from qcompile.commands.reference import load_reference
from qcompile.files import make_folder, write_whole
from qcompile.targets import Target, host_target

# The name of the bundle, and the file of the network.
NETWORKS = {
    "int8": "fmnist_cnn_int8_qdq.onnx",
    "w4a4": "fmnist_cnn_w4a4_qcdq.onnx",
    "fp32": "fmnist_cnn_fp32.onnx",
}
IMAGES = "fashion_mnist_1k.npz"
ROUNDS = 5
STEPS = 3  # of one network: compile, run, measure


@dataclass(frozen=True)
class DemoNetwork:
    """One network on one thread. onnxruntime's figures are None when it is not installed."""

    name: str
    accuracy: float | None
    latency_s: float
    library_bytes: int
    reference_accuracy: float | None
    reference_s: float | None


@dataclass(frozen=True)
class Demo:
    """`folder` holds the bundles, or is None when they were temporary."""

    target: Target
    images: int
    networks: list[DemoNetwork]
    reference_missing: str
    folder: Path | None


def demo(
    output: str | Path | None = None,
    *,
    progress: Progress = silent,
) -> Demo:
    """Compile each bundled network into a folder below `output` (or a temporary one) and run it.

    `output` also gets the networks themselves, as NAME.onnx, and the images, as test.npz.
    """
    target = host_target()
    missing = _missing_reference()
    with ExitStack() as stack:
        data = stack.enter_context(as_file(files("qcompile") / "demo_data"))
        if output is None:
            temporary = tempfile.TemporaryDirectory(prefix="qcompile-")
            folder = Path(stack.enter_context(temporary))
        else:
            folder = Path(output)
            write_demo_data(folder)
        samples = _samples(data)
        found = []
        for k, (name, file) in enumerate(NETWORKS.items()):

            def step(done: int, k: int = k, name: str = name) -> None:
                progress(name, STEPS * k + done, STEPS * len(NETWORKS))

            found.append(_try(data / file, name, target, folder / name, samples, not missing, step))
    return Demo(target, len(samples["y"]), found, missing, Path(output) if output else None)


def write_demo_data(folder: Path) -> None:
    """Write each network as NAME.onnx, and images with labels as test.npz, into `folder`."""
    make_folder(folder)
    with as_file(files("qcompile") / "demo_data") as data:
        for name, file in NETWORKS.items():
            write_whole(folder / f"{name}.onnx", (data / file).read_bytes())
        write_whole(folder / "test.npz", npz_bytes(_samples(data)))


def _samples(data: Path) -> dict[str, Array]:
    """Images as the networks take them, pixels from 0 to 1 in one channel, and their labels."""
    with np.load(data / IMAGES) as arrays:
        return {"input": arrays["x"][:, None] / np.float32(255), "y": arrays["y"]}


def _missing_reference() -> str:
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return "onnxruntime is not installed: pip install 'qcompile[bench]' to see it beside ours"
    return ""


def _try(
    model: Path,
    name: str,
    target: Target,
    folder: Path,
    arrays: dict[str, Array],
    with_reference: bool,
    step: Callable[[int], None],
) -> DemoNetwork:
    from qcompile.bundle import load

    step(0)
    manifest = compile(model, target, folder, name=f"fmnist_{name}", batch=1)
    samples = take_samples(arrays, manifest.inputs)
    outputs = [output.name for output in manifest.outputs]
    assert samples.labels is not None
    step(1)
    ours = run_samples(load(folder).run, samples, manifest.inputs, outputs)[outputs[0]]
    theirs = None
    if with_reference:
        reference = load_reference(model)
        theirs = run_samples(reference, samples, manifest.inputs, outputs)[outputs[0]]
    step(2)
    with ExitStack() as stack:
        contenders: list[Contender] = [OwnBench(manifest, threads=1)]
        if with_reference:
            peer = Peer("onnxruntime", model, 1, manifest.inputs)
            contenders.append(stack.enter_context(closing(peer)))
        latencies = race(contenders, rounds=ROUNDS)
    step(3)
    return DemoNetwork(
        name=name,
        accuracy=accuracy(ours, samples.labels),
        latency_s=latencies[0].median_s,
        library_bytes=manifest.library_bytes,
        reference_accuracy=None if theirs is None else accuracy(theirs, samples.labels),
        reference_s=latencies[1].median_s if with_reference else None,
    )
