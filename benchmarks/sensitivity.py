"""How well sums of sensitivities rank random assignments of widths by what they really cost.

    python benchmarks/sensitivity.py --shared FOLDER [NETWORK...] [--cache FOLDER] [--record]

FOLDER holds models/ and cifar10-jpeg/. Each of 50 assignments draws the widths of all layers but
the first and the last, is quantized whole by the product's quantizer, and runs on the labelled
test images. What it costs: the drop of top-1, and the share of images whose answer is another than
in float, which scatters less. The scores see 256 calibration images and no labels. With --cache an
interrupted run goes on.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from labelled import LABELLED
from quantizer import calibration
from results import Report, Table, add_options, finish, working_folder
from scipy.stats import spearmanr

from qcompile.commands.reference import load_reference
from qcompile.quantizer import QuantizeOptions, Widths, quantize_network, simulate
from qcompile.quantizer.folding import fold
from qcompile.quantizer.network import Network, load_network
from qcompile.quantizer.placement import first_and_last
from qcompile.search.sensitivity import measure_sensitivity

NETWORKS = ("resnet8_fp32", "resnet8_ft_fp32")
KINDS = ("block", "kl", "hutchinson")
WEIGHTS, ACTIVATIONS = (2, 3, 4, 8), (2, 3, 4, 5, 6, 7, 8)
ASSIGNMENTS = 50
REQUIRED = {"block": 0.8}  # of the correlation with the drop of top-1
BATCH = 100  # images at a time
COLUMNS = ["network", "score", "drop of top-1", "required", "other answers", "seconds", "CPU s"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores of widths against what widths cost.")
    parser.add_argument("networks", nargs="*", help=f"{', '.join(NETWORKS)} (default: both)")
    parser.add_argument("--shared", type=Path, required=True, help="the folder of models and data")
    add_options(parser)
    options = parser.parse_args()
    rows, remarks = [], []
    with working_folder(options.cache) as folder:
        for name in options.networks or NETWORKS:
            answers, classes = run_all(name, options.shared, folder / f"{name}_answers.jsonl")
            rows += list(ranks(name, options.shared, answers, classes))
            remarks.append(remark(name, answers, classes))
    table = Table("Spearman's correlation over 50 assignments, with", COLUMNS, rows)
    finish(Report("sensitivity", [table], remarks), options)


def assignments(network: Network) -> list[dict[str, Widths]]:
    """Seeded widths by layer."""
    rng, ends, drawn = np.random.default_rng(0), first_and_last(network), []
    for _ in range(ASSIGNMENTS):
        found = {}
        for layer in network.layers.values():
            widths = Widths(int(rng.choice(WEIGHTS)), int(rng.choice(ACTIVATIONS)))
            found[layer.name] = Widths() if layer.name in ends else widths
        drawn.append(found)
    return drawn


def run_all(name: str, shared: Path, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The answers (1 + assignments, images), float first, kept in `file`; and the classes."""
    model = LABELLED[name].model(shared)
    images, classes = LABELLED[name].samples(shared)
    known = file.read_text().splitlines() if file.exists() else []
    drawn = [None, *assignments(fold(load_network(model)))]
    for k, widths in list(enumerate(drawn))[len(known) :]:
        run = load_reference(model) if widths is None else quantized(name, shared, widths)
        starts = range(0, len(images), BATCH)
        scores = [run({"input": images[start : start + BATCH]})[0] for start in starts]
        answers = np.concatenate(scores).argmax(axis=1)
        known.append(json.dumps({"answers": answers.tolist()}))
        with file.open("a", encoding="utf-8") as lines:
            lines.write(known[-1] + "\n")
        print(f"{name}: {k} of {ASSIGNMENTS} assignments", flush=True)
    return np.array([json.loads(line)["answers"] for line in known]), classes


def quantized(
    name: str, shared: Path, widths: dict[str, Widths]
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """The network at these widths, as a function of inputs by name."""
    images = {"input": calibration(name, shared)}
    found = quantize_network(LABELLED[name].model(shared), images, QuantizeOptions(bits=widths))
    return lambda inputs: list(simulate(found, inputs).values())


def ranks(
    name: str, shared: Path, answers: np.ndarray, classes: np.ndarray
) -> Iterator[list[str | float]]:
    """A row for each kind of score."""
    model = LABELLED[name].model(shared)
    drawn = assignments(fold(load_network(model)))
    choices = {layer: list({widths[layer]: None for widths in drawn}) for layer in drawn[0]}
    right, others = (answers == classes).mean(axis=1), (answers[1:] != answers[0]).mean(axis=1)
    for kind in KINDS:
        start, cpu = time.perf_counter(), time.process_time()
        found = measure_sensitivity(
            model, {"input": calibration(name, shared)}, choices, kinds=[kind]
        )
        costs = [f"{time.perf_counter() - start:.1f}", f"{time.process_time() - cpu:.1f}"]
        totals = [found.total(kind, widths) for widths in drawn]
        by_drop = spearmanr(totals, right[0] - right[1:]).statistic
        by_others = spearmanr(totals, others).statistic
        required = REQUIRED.get(kind, "")
        yield [name, kind, f"{by_drop:.3f}", required, f"{by_others:.3f}", *costs]


def remark(name: str, answers: np.ndarray, classes: np.ndarray) -> str:
    """How far the costs go, and how well they are known."""
    right = answers == classes
    drops = 100 * (right[0].mean() - right[1:].mean(axis=1))
    halves = [right[1:, start::2].mean(axis=1) for start in (0, 1)]
    known = spearmanr(*halves).statistic
    return (
        f"{name}: {100 * right[0].mean():.2f} % in float; the drop of top-1 goes from "
        f"{drops.min():.2f} to {drops.max():.2f} points. The drops on one half of the images and "
        f"on the other correlate by {known:.2f}: scatter alone keeps any score from 1."
    )


if __name__ == "__main__":
    main()
