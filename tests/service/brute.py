"""What a request with rules must be answered with, by loops over items: shares no code with service or causalrec."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from causalrec.weights import UserVectors, Weights

Attributes = Mapping[str, Any]
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda x, y: x > y,
    "gte": lambda x, y: x >= y,
    "lt": lambda x, y: x < y,
    "lte": lambda x, y: x <= y,
}


def matches(item: Attributes, wanted: Mapping[str, Any]) -> bool:
    """Whether an item matches a filter."""
    return all(_part(item, name, value) for name, value in wanted.items())


def _part(item: Attributes, name: str, value: Any) -> bool:
    if name == "all":
        return all(matches(item, each) for each in value)
    if name == "any":
        return any(matches(item, each) for each in value)
    if name == "not":
        return not matches(item, value)
    if not isinstance(value, dict):
        value = {"in": value if isinstance(value, list) else [value]}
    return all(_condition(item[name], operator, against) for operator, against in value.items())


def _condition(has: Any, operator: str, against: Any) -> bool:
    if operator == "exists":
        return bool((has is not None) == against)
    if has is None:
        return False
    elements = [each for each in (has if isinstance(has, list) else [has]) if each is not None]
    if operator == "ne":
        return against not in elements
    if operator in ("in", "eq"):
        values = against if operator == "in" else [against]
        return any(each in values for each in elements)
    return any(ORDER[operator](each, against) for each in elements)


def scored(weights: Weights, user: UserVectors, row: int, lambda2: float) -> float:
    """The debiased score of one item, to 12 decimals."""
    items = weights.items
    parts = (user.gamma, user.theta, items.gamma[row], items.e[row], items.e_match[row])
    gamma, theta, g, e, m = ([float(x) for x in part.double()] for part in parts)
    null = float(user.null)
    a = math.fsum(x * y for x, y in zip(gamma, g, strict=True)) + _bias(items.beta, row)
    b = math.fsum(x * y * z for x, y, z in zip(gamma, g, m, strict=True))
    n = math.fsum(x * y for x, y in zip(theta, e, strict=True)) + _bias(items.visual_bias, row)
    if weights.form == "paper":
        value = sigma(a) * sigma(b) * sigma(n) - lambda2 * null * sigma(n)
    elif weights.form == "authors":
        value = sigma(a + b + n) * sigma(a + b) * sigma(n) - lambda2 * sigma(null + n) * sigma(null) * sigma(n)
    elif weights.form == "sum":
        value = sigma(a) + sigma(b) + (1 - lambda2) * sigma(n)
    else:
        value = a + b + (1 - lambda2) * n
    return float(round(value, 12))


def _bias(bias: torch.Tensor | None, row: int) -> float:
    return 0.0 if bias is None else float(bias[row])


def sigma(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def ruled(
    scores: Mapping[str, float],
    items: Mapping[str, Attributes],
    k: int,
    pins: Sequence[tuple[str, int]],
    boosts: Sequence[tuple[Mapping[str, Any], float]],
    cap: tuple[str, int] | None,
) -> list[str]:
    """
    The list of the eligible items in `scores`: pins at their positions, the rest by score and boost, ties by id, as
    many of a group as the cap allows, pins counted; nothing left out while there is room.
    """

    def group(item: str) -> Any:
        return None if cap is None else items[item][cap[0]]

    def key(item: str) -> float:
        return round(scores[item] + sum(by for wanted, by in boosts if matches(items[item], wanted)), 12)

    pinned = {position: item for item, position in pins if item in scores}
    taken = Counter(group(item) for item in pinned.values())
    others = []
    for item in sorted(set(scores) - set(pinned.values()), key=lambda item: (-key(item), item)):
        if cap is None or group(item) is None or taken[group(item)] < cap[1]:
            taken[group(item)] += 1
            others.append(item)
    others = others[: k - len(pinned)]
    answer: list[str] = []
    for place in range(1, len(others) + len(pinned) + 1):
        due = [position for position in sorted(pinned) if position <= place or not others]
        answer.append(pinned.pop(due[0]) if due else others.pop(0))
    return answer
