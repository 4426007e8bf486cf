"""Scores by kind, layer and widths, and how far the kinds agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from scipy.stats import spearmanr

from qcompile.quantizer import Widths


@dataclass(frozen=True)
class Score:
    """What a layer's widths cost; 0 is nothing. `standard_error`: of the value."""

    value: float
    standard_error: float


Scores = Mapping[str, Mapping[Widths, Score]]  # by layer


@dataclass(frozen=True)
class Sensitivities:
    """`scores`: by kind, layer and widths; from so many calibration samples."""

    scores: Mapping[str, Scores]
    samples: int

    def total(self, kind: str, widths: Mapping[str, Widths]) -> float:
        """The sum over the layers that `widths` names."""
        return sum(self.scores[kind][layer][chosen].value for layer, chosen in widths.items())

    def agreement(self) -> dict[tuple[str, str], float]:
        """Spearman's rank correlation of each two kinds, over all layers and widths.

        Kinds with fewer than two different scores have no ranks, and no entry.
        """
        columns = {
            kind: [score.value for by_widths in scores.values() for score in by_widths.values()]
            for kind, scores in self.scores.items()
        }
        ranked = [kind for kind, column in columns.items() if len(set(column)) > 1]
        return {
            (a, b): float(spearmanr(columns[a], columns[b]).statistic)
            for a, b in combinations(ranked, 2)
        }
