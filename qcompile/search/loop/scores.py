"""Sensitivities of a search: what the solver adds up, and how far the kinds of scores agree."""

from qcompile.arrays import LABEL_NAMES, Array
from qcompile.search.loop.material import Material
from qcompile.search.loop.store import Store
from qcompile.search.loop.sweep import Sensitivity
from qcompile.search.loop.watcher import Watcher
from qcompile.search.sensitivity import Sensitivities, measure_sensitivity
from qcompile.search.sensitivity.request import draw

RANKED = "block"  # of all kinds it ranks assignments most like their true accuracy
KINDS = (RANKED, "kl", "hutchinson", "accuracy")
LABELLED = 256  # samples, drawn evenly, that tell what a layer alone loses


def measure_scores(
    material: Material, store: Store, watcher: Watcher
) -> tuple[Sensitivity, list[str]]:
    """The score of each layer and widths, and lines about all kinds of scores."""
    found = measure_sensitivity(
        material.request.model,
        material.calibration,
        material.choices,
        kinds=KINDS,
        labelled=_labelled(material),
        folder=store.path("sensitivity"),
        seed=material.request.seed,
        progress=lambda stage, done=0, total=0: watcher.step(stage, done, total),
    )
    scores = {
        layer: {widths: score.value for widths, score in by_widths.items()}
        for layer, by_widths in found.scores[RANKED].items()
    }
    return scores, _lines(found)


def _labelled(material: Material) -> dict[str, Array]:
    """Some of the labelled samples, for what is measured layer by layer."""
    drawn = draw(material.labelled, LABELLED, material.request.seed)
    assert drawn.labels is not None
    return {**drawn.inputs, LABEL_NAMES[0]: drawn.labels}


def _lines(found: Sensitivities) -> list[str]:
    """A table of all scores with their standard errors, and the kinds' rank agreement."""
    kinds = list(found.scores)
    lines = [
        f"From {found.samples} samples; ± one standard error. The solver adds up `{RANKED}`; "
        "`accuracy` is the share of samples that the layer alone loses from top-1 (below 0: gains)."
    ]
    lines += ["", "| layer | widths | " + " | ".join(kinds) + " |"]
    lines += ["| --- | --- |" + " ---: |" * len(kinds)]
    for layer, by_widths in found.scores[RANKED].items():
        for widths in by_widths:
            scores = [found.scores[kind][layer][widths] for kind in kinds]
            cells = [f"{score.value:.3g} ± {score.standard_error:.1g}" for score in scores]
            name = f"w{widths.weights}a{widths.activations}"
            lines.append(f"| {layer} | {name} | " + " | ".join(cells) + " |")
    lines += ["", "Rank agreement (Spearman) over layers and widths:"]
    pairs = found.agreement()
    lines += [f"- {one} and {other}: {value:.3f}" for (one, other), value in pairs.items()]
    return lines
