"""Histograms of a Prometheus scrape: the difference of two, and quantiles of it."""

import re
from collections.abc import Mapping

Buckets = dict[float, float]  # upper limit in seconds → observations up to it, cumulative; the last limit is infinite

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(scrape: str, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of every sample called `name` whose labels include `labels`."""
    found = []
    for match in SAMPLE.finditer(scrape):
        own = dict(LABEL.findall(match["labels"] or ""))
        if match["name"] == name and labels.items() <= own.items():
            found.append((own, float(match["value"])))
    return found


def total(scrape: str, name: str, **labels: str) -> float:
    """The sum of these samples."""
    return sum(value for _, value in samples(scrape, name, **labels))


def buckets(scrape: str, name: str, **labels: str) -> Buckets:
    """The cumulative buckets of histogram `name`, summed over the labels not given."""
    found: Buckets = {}
    for own, value in samples(scrape, f"{name}_bucket", **labels):
        limit = float(own["le"].replace("+Inf", "inf"))
        found[limit] = found.get(limit, 0.0) + value
    return dict(sorted(found.items()))


def difference(after: Mapping[float, float], before: Mapping[float, float]) -> Buckets:
    """What was observed between two scrapes."""
    return {limit: count - before.get(limit, 0.0) for limit, count in after.items()}


def quantile(observed: Mapping[float, float], share: float) -> float:
    """
    The quantile `share` in seconds, even within its bucket as Prometheus' histogram_quantile takes it; the last finite
    limit where it lies beyond, nan where nothing was observed.
    """
    wanted = share * max(observed.values(), default=0.0)
    lower, below = 0.0, 0.0
    for limit, reached in observed.items():
        if wanted and reached >= wanted:
            inside = (wanted - below) / (reached - below)
            return lower if limit == float("inf") else lower + (limit - lower) * inside
        lower, below = limit, reached
    return float("nan")
