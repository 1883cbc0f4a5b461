"""One plan's lists, found in rounds: what a list needs is asked for, many lists at once, until its rules are met."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalrec.joint import weakest
from causalrec.topk import Proof, Query, Rows, TopK
from service.filters import Mask
from service.planning import Plan
from service.rules import Quota, Rules

WIDER = 4  # times as many items are asked for in every further round


class Listed(NamedTuple):
    """
    One list in its order. best.scores are debiased scores whatever the rules made of the order.

    boosts, pinned [k]: aligned with it; None where the request boosts or pins nothing.
    """

    best: TopK
    boosts: NDArray[np.float64] | None = None
    pinned: NDArray[np.bool_] | None = None


class Part(NamedTuple):
    """The best of what is left by key, best first: rows [C], their scores [C], why they are, how many were scored."""

    rows: Rows
    scores: NDArray[np.float64]
    proof: Proof
    candidates: int


Found = Sequence[tuple[TopK, ...]]
Lists = tuple[Listed, ...]
Rounds = Generator[Sequence[Query], Found, Lists]
Search = Callable[[Sequence[Query]], Sequence[tuple[TopK, ...] | Exception]]


def rounds(plan: Plan) -> list[Rounds]:
    """What finds the plan's lists, in the order of its λ2: all in one, or where there are rules one each."""
    if plan.rules is None:
        return [_plain(plan)]
    return [_ruled(plan, plan.rules, lambda2) for lambda2 in plan.lambda2]


def run(every: Sequence[Rounds], search: Search) -> list[Lists | Exception]:
    """What each of `every` comes to, or fails with; each round's queries are searched for together."""
    outcomes: dict[int, Lists | Exception] = {}
    asked: dict[int, Sequence[Query]] = {}

    def advance(number: int, found: Found | None) -> None:
        try:
            asked[number] = every[number].send(found)  # type: ignore[arg-type] # None begins a generator
        except StopIteration as done:
            outcomes[number] = done.value
        except Exception as error:  # noqa: BLE001 - whoever it belongs to gets it
            outcomes[number] = error

    for number in range(len(every)):
        advance(number, None)
    while asked:
        waiting, asked = asked, {}
        found = iter(search([query for queries in waiting.values() for query in queries]))
        for number, queries in waiting.items():
            answers = [next(found) for _ in queries]
            failed = next((answer for answer in answers if isinstance(answer, Exception)), None)
            if failed is None:
                advance(number, answers)  # type: ignore[arg-type] # none of them failed
            else:
                outcomes[number] = failed
    return [outcomes[number] for number in range(len(every))]


def _plain(plan: Plan) -> Rounds:
    if plan.query is not None:
        (found,) = yield [plan.query]
        return tuple(Listed(best) for best in found)
    rows, search = plan.eligible(), plan.stock.search
    lists = []
    for scores in known_scores(plan, rows, plan.lambda2):
        order = search.best_first(scores, rows, plan.k)
        lists.append(Listed(TopK(rows[order], scores[order], "scan", len(rows))))
    return tuple(lists)


def known_scores(plan: Plan, rows: Rows, lambda2: Sequence[float]) -> NDArray[np.float64]:
    """What `rows` [C] score at each λ2, [L, C]."""
    if plan.source == "cold_user":
        return np.stack([plan.stock.cold_scores(at)[rows] for at in lambda2])
    return plan.stock.search.scores(plan.user, lambda2, rows)


def _ruled(plan: Plan, rules: Rules, lambda2: float) -> Rounds:
    """
    The list that taking items by falling key (score and boost, ties by id) gives where full groups are passed over.

    Each round finds the best of what is left: what was taken and whole groups that are full are not. It takes what may
    be taken in order, so that whatever it passes over belongs to a group that is full. A round that fills no list
    closes a group, and the next asks for more.
    """
    quota, allowed = Quota(rules), plan.allowed()
    allowed[rules.pins] = False
    room = width = plan.k - len(rules.pins)
    parts: list[Part] = []
    quota.close(allowed)
    while room:
        part = yield from _best(plan, rules, lambda2, allowed, width)
        kept = quota.take(part.rows, room)
        parts.append(part._replace(rows=part.rows[kept], scores=part.scores[kept]))
        room -= len(kept)
        if len(part.rows) < width:
            break
        allowed[part.rows[kept]] = False
        quota.close(allowed)
        width *= WIDER
    return (_arranged(plan, rules, lambda2, parts),)


def _best(
    plan: Plan, rules: Rules, lambda2: float, allowed: Mask, width: int
) -> Generator[Sequence[Query], Found, Part]:
    """The `width` best by key of the rows `allowed` [R]: searched for boost by boost, or scored where that is less."""
    search, parts = plan.stock.search, []
    few = len(allowed) if plan.query is None else search.few
    rare, common = rules.apart(allowed, few)
    if rare is not None:
        rows = np.flatnonzero(rare).astype(np.int64)
        parts.append(Part(rows, known_scores(plan, rows, (lambda2,))[0], "scan", len(rows)))
    if common and plan.query is not None:
        asked = replace(plan.query, lambda2=(lambda2,), k=width)
        found = yield [replace(asked, excluded=np.flatnonzero(~mask).astype(np.int64)) for mask in common]
        parts += [Part(best.rows, best.scores, best.proof, best.candidates) for (best,) in found]
    rows = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, dtype=np.int64)
    scores = np.concatenate([part.scores for part in parts]) if parts else np.empty(0)
    order = search.best_first(rules.keys(rows, scores), rows, width)
    proof = weakest([part.proof for part in parts])
    return Part(rows[order], scores[order], proof, sum(part.candidates for part in parts))


def _arranged(plan: Plan, rules: Rules, lambda2: float, parts: Sequence[Part]) -> Listed:
    """The pinned items at their positions, what was taken around them in its order; no position stays empty."""
    pins = rules.pins
    own = Part(pins, known_scores(plan, pins, (lambda2,))[0], "scan", len(pins))
    rows = np.concatenate([part.rows for part in (own, *parts)])
    scores = np.concatenate([part.scores for part in (own, *parts)])
    order = _positions(sorted(rules.pinned), len(rows))
    best = TopK(
        rows[order],
        scores[order],
        weakest([part.proof for part in parts]),
        sum(part.candidates for part in (own, *parts)),
    )
    boosts = None if rules.bits is None else rules.boost(best.rows)
    return Listed(best, boosts, order < len(pins) if len(pins) else None)


def _positions(pinned: Sequence[int], count: int) -> Rows:
    """
    Which of `count` items stands at each place: the first of them are pinned to these rising positions, the others
    fill the places between; with too few of them the pinned ones move up.
    """
    order: list[int] = []
    pins: Iterator[tuple[int, int]] = iter(enumerate(pinned))
    following = next(pins, None)
    others = iter(range(len(pinned), count))
    for place in range(1, count + 1):
        other = None if following is not None and following[1] <= place else next(others, None)
        if other is None and following is not None:
            order.append(following[0])
            following = next(pins, None)
        elif other is not None:
            order.append(other)
    return np.array(order, dtype=np.int64)
