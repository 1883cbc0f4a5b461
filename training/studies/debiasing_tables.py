"""What λ2 gained in the simulated shops, in figures: against both ends of the dial, over users and over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalrec.manifest import Interval
from training.compare.outcome import Outcome
from training.compare.schema import CHOSEN
from training.evaluate import MATCH_ALONE, Ranking
from training.metrics import Bootstrap, Values
from training.report import markdown_table, with_interval
from training.studies.debiasing_causes import BRANCHES, CAUSES
from training.studies.debiasing_truth import TASTE
from training.studies.shop import over_seeds

GAINS = (
    *("pull", "model", "λ2 chosen", "purchases at 0", "at chosen", "M alone", "over λ2 = 0 [users]", "[seeds]"),
    *("over M alone [users]", "[seeds]", "beats both"),
)
END = 0.0


@dataclass(frozen=True)
class Group:
    """One model under one pull: an outcome per seed."""

    pull: float
    label: str
    outcomes: tuple[Outcome, ...]

    def values(self, ranking: Ranking, metric: str) -> list[Values]:
        """Per seed, the test metric of every user; "chosen" is the λ2 chosen on validation purchases."""
        return [
            found.test.values[found.facts.lambda2 if ranking == CHOSEN else ranking][metric] for found in self.outcomes
        ]

    def mean(self, ranking: Ranking, metric: str) -> float:
        """The mean over users, then over seeds."""
        return float(np.mean([values.mean() for values in self.values(ranking, metric)]))

    def gain(self, against: Ranking, metric: str, bootstrap: Bootstrap) -> tuple[Interval, Interval]:
        """
        What the chosen λ2 adds to `against`: with the paired interval over users, and the t interval over seeds.

        Every seed is a shop of its own, so the users of all of them are different people, put together.
        """
        both = zip(self.values(CHOSEN, metric), self.values(against, metric), strict=True)
        added = [chosen - other for chosen, other in both]
        return bootstrap.interval(np.concatenate(added)), over_seeds([float(values.mean()) for values in added])


def groups(outcomes: Sequence[tuple[float, Outcome]]) -> list[Group]:
    """Outcomes with their pulls, together by pull and model, in the order they come."""
    found: dict[tuple[float, str], list[Outcome]] = {}
    for pull, one in outcomes:
        found.setdefault((pull, one.facts.label), []).append(one)
    return [Group(pull, label, tuple(ones)) for (pull, label), ones in found.items()]


def gains_table(models: Sequence[Group], k: int, bootstrap: Bootstrap) -> str:
    """The λ2 chosen on validation purchases, on test purchases, against λ2 = 0 and against M alone."""
    return markdown_table(GAINS, [_gains(group, f"purchases:NDCG@{k}", bootstrap) for group in models])


def curves_table(models: Sequence[Group], lambda2: Sequence[float], k: int) -> str:
    """Purchases and clicks at every λ2 and by M alone."""
    rankings: list[Ranking] = [*lambda2, MATCH_ALONE]
    rows = [
        [f"{group.pull:g}", group.label, words, *(f"{group.mean(at, metric):.4f}" for at in rankings)]
        for group in models
        for words, metric in (("purchases", f"purchases:NDCG@{k}"), ("clicks", f"NDCG@{k}"))
    ]
    return markdown_table(["pull", "model", "test", *(f"λ2={at:g}" for at in lambda2), "M alone"], rows)


def bounds_table(truths: Sequence[Group], k: int) -> str:
    """What no model can do better: the true taste, and a dial without error."""
    metric = f"purchases:NDCG@{k}"
    rows = [
        [
            f"{group.pull:g}",
            f"{group.mean(TASTE, metric):.4f}",
            f"{group.mean(END, metric):.4f}",
            _lambda2s(group),
            f"{group.mean(CHOSEN, metric):.4f}",
            f"{group.mean(MATCH_ALONE, metric):.4f}",
            f"{group.mean(CHOSEN, metric) / max(group.mean(END, metric), group.mean(MATCH_ALONE, metric)) - 1:+.1%}",
        ]
        for group in truths
    ]
    header = ["pull", "true taste", "perfect dial at 0", "its best λ2", "at its best", "M alone", "over the better end"]
    return markdown_table(header, rows)


def causes_table(models: Sequence[Group]) -> str:
    """What each branch holds of every cause of clicks: `training.studies.debiasing_causes.learnt`."""
    rows = []
    for group in models:
        noted = [found.facts.diagnostics for found in group.outcomes]
        rows += [
            [f"{group.pull:g}", group.label, branch]
            + [f"{np.mean([of[f'{branch}:{name}'] for of in noted]):.3f}" for name in (*CAUSES, "sd")]
            for branch in BRANCHES
        ]
    header = ["pull", "model", "branch", "taste, hidden", "taste, shown", "pull, shared", "pull, own", "sd"]
    return markdown_table(header, rows)


def conclusions(models: Sequence[Group], k: int, bootstrap: Bootstrap) -> list[str]:
    """A sentence per pull: the model that sells most, and which dials beat both of their ends."""
    metric, said = f"purchases:NDCG@{k}", []
    for pull in dict.fromkeys(group.pull for group in models):
        here = [group for group in models if group.pull == pull]
        best = max(here, key=lambda group: group.mean(CHOSEN, metric))
        beating = [group.label for group in here if beats_both(group, metric, bootstrap)]
        said.append(
            f"- Pull {pull:g}: most purchases by {best.label} ({best.mean(CHOSEN, metric):.4f} at λ2 = "
            f"{_lambda2s(best)}; {best.mean(END, metric):.4f} at 0). The dial beats both of its ends, with both "
            f"intervals over users above 0, in: {', '.join(beating) or 'no model'}."
        )
    return said


def beats_both(group: Group, metric: str, bootstrap: Bootstrap) -> bool:
    """Whether the chosen λ2 is better than λ2 = 0 and than M alone: both paired intervals over users above 0."""
    return all(group.gain(against, metric, bootstrap)[0].low > 0 for against in (END, MATCH_ALONE))


def _gains(group: Group, metric: str, bootstrap: Bootstrap) -> list[str]:
    over_zero, over_match = (group.gain(against, metric, bootstrap) for against in (END, MATCH_ALONE))
    return [
        f"{group.pull:g}",
        group.label,
        _lambda2s(group),
        *(f"{group.mean(at, metric):.4f}" for at in (END, CHOSEN, MATCH_ALONE)),
        *_told(over_zero, group.mean(END, metric)),
        *_told(over_match, group.mean(MATCH_ALONE, metric)),
        "yes" if beats_both(group, metric, bootstrap) else "no",
    ]


def _told(gain: tuple[Interval, Interval], base: float) -> list[str]:
    users, seeds = gain
    return [f"{users.mean / base:+.1%} {with_interval(users)}", with_interval(seeds).split(" ", 1)[1]]


def _lambda2s(group: Group) -> str:
    chosen = [f"{found.facts.lambda2:g}" for found in group.outcomes]
    return chosen[0] if len(set(chosen)) == 1 else " ".join(chosen)
