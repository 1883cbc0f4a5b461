"""What λ2 did to the liked and the disliked test items of a data set with ratings: tables, conclusions, a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from causalrec.manifest import Interval
from training.compare.outcome import Outcome
from training.compare.pairs import Sample, average, difference
from training.compare.schema import CHOSEN
from training.evaluate import MATCH_ALONE, Ranking
from training.metrics import ENDS, Bootstrap, Relevant, Values
from training.report import markdown_table, with_interval
from training.studies.debiasing_figures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 3  # panels in a row
END = 0.0


@dataclass(frozen=True)
class Rated:
    """One model under every seed, beside what its test parts hold."""

    label: str
    outcomes: tuple[Outcome, ...]
    held: dict[int, dict[str, Relevant]]
    """seed → set → test items."""
    k: int

    @property
    def rankings(self) -> list[Ranking]:
        """The λ2, rising, and M alone."""
        return [at for at in self.outcomes[0].test.values if isinstance(at, float) or at == MATCH_ALONE]

    @property
    def liked(self) -> str:
        """The metric that λ2 is chosen by."""
        return f"liked:NDCG@{self.k}"

    def sample(self, ranking: Ranking, metric: str) -> Sample:
        """Per seed, users and values; "chosen" is the λ2 chosen on validation."""
        kind = metric.partition(":")[0] if ":" in metric else "clicks"
        return {
            found.facts.seed: (found.users["test"][kind], found.test.values[self._at(found, ranking)][metric])
            for found in self.outcomes
        }

    def mean(self, ranking: Ranking, metric: str) -> float:
        """The mean over users, each averaged over the seeds."""
        return float(average(self.sample(ranking, metric))[1].mean())

    def found(self, ranking: Ranking) -> Sample:
        """Per seed, users and how many of their disliked test items, and of all, are in their top k: [U, 2]."""
        return {
            found.facts.seed: (
                found.users["test"]["clicks"],
                np.stack([self._hits(found, ranking, name) for name in ("disliked", "clicks")], 1),
            )
            for found in self.outcomes
        }

    def share(self, ranking: Ranking) -> float:
        """The share of disliked ones among the test items in the top k of all users."""
        return float(np.divide(*average(self.found(ranking))[1].sum(0)))

    def share_change(self, ranking: Ranking, against: Ranking, bootstrap: Bootstrap) -> Interval:
        """How far the share moves from one ranking to the other: of the users' sums, paired."""
        counts = np.concatenate([average(self.found(at))[1] for at in (ranking, against)], 1)
        sums = bootstrap.means(counts)
        moved = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
        low, high = np.quantile(moved, ENDS)
        return Interval(mean=self.share(ranking) - self.share(against), low=float(low), high=float(high))

    def gain(self, against: Ranking, bootstrap: Bootstrap) -> Interval:
        """NDCG of the liked at the chosen λ2 less that of `against`, paired over users."""
        found = difference(self.sample(CHOSEN, self.liked), self.sample(against, self.liked), bootstrap)
        if found is None:
            raise ValueError(f"{self.label}: no seeds")
        return found.difference

    def _hits(self, found: Outcome, ranking: Ranking, name: str) -> Values:
        """How many items of the set are in the top k, for every user who has a test item at all."""
        relevant, everybody = self.held[found.facts.seed][name], found.users["test"]["clicks"]
        metric = f"Recall@{self.k}" if name == "clicks" else f"{name}:Recall@{self.k}"
        count = np.diff(relevant.pairs.starts)[relevant.users]
        hits = np.zeros(len(everybody))
        hits[np.searchsorted(everybody, relevant.users)] = found.test.values[self._at(found, ranking)][metric] * count
        return hits

    @staticmethod
    def _at(found: Outcome, ranking: Ranking) -> Ranking:
        return found.facts.lambda2 if ranking == CHOSEN else ranking


def gains_table(models: Sequence[Rated], bootstrap: Bootstrap) -> str:
    """The λ2 chosen against both ends: NDCG of the liked, and the share of disliked."""
    header = (
        *("model", "λ2 chosen", "liked at 0", "at chosen", "M alone", "over λ2 = 0", "over M alone"),
        *("disliked at 0", "at chosen", "M alone", "change from λ2 = 0"),
    )
    rows = [
        [
            model.label,
            " ".join(f"{found.facts.lambda2:g}" for found in model.outcomes),
            *(f"{model.mean(at, model.liked):.4f}" for at in (END, CHOSEN, MATCH_ALONE)),
            *(with_interval(model.gain(at, bootstrap)) for at in (END, MATCH_ALONE)),
            *(f"{model.share(at):.4f}" for at in (END, CHOSEN, MATCH_ALONE)),
            with_interval(model.share_change(CHOSEN, END, bootstrap)),
        ]
        for model in models
    ]
    return markdown_table(header, rows)


def curves_table(models: Sequence[Rated]) -> str:
    """Everything at every λ2 and by M alone."""
    rows = []
    for model in models:
        k = model.k
        lines = {
            "liked NDCG": [model.mean(at, model.liked) for at in model.rankings],
            "watched NDCG": [model.mean(at, f"NDCG@{k}") for at in model.rankings],
            "share of the liked found": [model.mean(at, f"liked:Recall@{k}") for at in model.rankings],
            "share of the disliked found": [model.mean(at, f"disliked:Recall@{k}") for at in model.rankings],
            "share of disliked": [model.share(at) for at in model.rankings],
        }
        rows += [[model.label, words, *(f"{value:.4f}" for value in values)] for words, values in lines.items()]
    names = ["M alone" if at == MATCH_ALONE else f"λ2={at:g}" for at in models[0].rankings]
    return markdown_table(["model", f"top {models[0].k}", *names], rows)


def conclusions(models: Sequence[Rated], bootstrap: Bootstrap) -> list[str]:
    """Which dials help with the liked, which with the disliked, at the λ2 chosen; nothing that is not in the tables."""
    both = [model.label for model in models if min(model.gain(at, bootstrap).low for at in (END, MATCH_ALONE)) > 0]
    better = [model.label for model in models if model.gain(END, bootstrap).low > 0]
    fewer = [model.label for model in models if model.share_change(CHOSEN, END, bootstrap).high < 0]
    more = [model.label for model in models if model.share_change(CHOSEN, END, bootstrap).low > 0]
    return [
        f"- More of the liked than at λ2 = 0, interval above 0: {', '.join(better) or 'no model'}; than at both ends: "
        f"{', '.join(both) or 'no model'}.",
        f"- A smaller share of disliked than at λ2 = 0, interval below 0: {', '.join(fewer) or 'no model'}; "
        f"a larger one: {', '.join(more) or 'no model'}.",
    ]


def draw_liked(models: Sequence[Rated]) -> "Figure":
    """A panel per model: NDCG of the liked relative to λ2 = 0, and the share of disliked likewise; at the right M."""
    down = -(-len(models) // ACROSS)
    figure = canvas(3.4 * ACROSS, 2.6 * down)
    panels = figure.subplots(down, ACROSS, squeeze=False, sharey=True).ravel().tolist()
    for panel, model in zip(panels, models, strict=False):
        lambda2 = [at for at in model.rankings if isinstance(at, float)]
        places = [*lambda2, lambda2[-1] * 1.15]
        for words, values, style, marker in (
            ("liked, NDCG", [model.mean(at, model.liked) for at in model.rankings], "-", "o"),
            ("disliked, share", [model.share(at) for at in model.rankings], "--", "s"),
        ):
            base = values[0] or np.nan  # where nothing was found there is nothing to draw
            change = [100 * (value / base - 1) for value in values]
            panel.plot(
                places[:-1], change[:-1], style, marker=marker, ms=3, lw=1, color="black", mfc="white", label=words
            )
            panel.plot(places[-1:], change[-1:], "", marker=marker, ms=6, color="black", mfc="white")
        for found in model.outcomes:
            panel.axvline(found.facts.lambda2, color="0.7", lw=0.7, ls=(0, (1, 3)))
        panel.axhline(0, color="black", lw=0.6)
        panel.set_ylim(-40, 40)
        whole = range(int(lambda2[-1]) + 1)
        panel.set_xticks([*whole, places[-1]], [*map(str, whole), "M"])
        panel.set_title(model.label, fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels[len(models) :]:
        panel.set_axis_off()
    panels[0].set_ylabel("change from λ2 = 0, %", fontsize=8)
    panels[0].legend(fontsize=7)
    return figure
