"""Experiments as feature flags, by the OpenFeature Remote Evaluation Protocol (OFREP 0.1): values, reasons, errors."""

from collections.abc import Container, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from causalrec.ids import problem_with
from service.experimenting import FLAG
from service.experiments.assignment import Assignment
from service.experiments.model import Book, Decision

Reason = Literal["SPLIT", "TARGETING_MATCH", "DEFAULT", "DISABLED"]
ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
NO_VARIANT: Final = "default"
"""The variant of who is in no experiment: OFREP's clients expect one."""


class FlagError(NamedTuple):
    """Why a flag has no value."""

    code: ErrorCode
    details: str


class Flag(NamedTuple):
    """A flag's value for one user, a λ2. metadata: what it is from, and why."""

    key: str
    value: float
    reason: Reason
    variant: str
    metadata: Mapping[str, str | float]


def targeting_key(body: object) -> str | FlagError:
    """The user of a request's body; other attributes of its context are passed over."""
    if not isinstance(body, dict):
        return FlagError("PARSE_ERROR", 'send an object: {"context": {"targetingKey": "<user id>"}}')
    context = body.get("context", {})
    if not isinstance(context, dict):
        return FlagError("INVALID_CONTEXT", "context is not an object")
    user_id = context.get("targetingKey")
    if user_id in (None, ""):
        return FlagError("TARGETING_KEY_MISSING", "context.targetingKey is needed: the user's id")
    if not isinstance(user_id, str):
        return FlagError("INVALID_CONTEXT", "context.targetingKey is not a string")
    if reason := problem_with(user_id):
        return FlagError("INVALID_CONTEXT", f"context.targetingKey {reason}")
    return user_id


def flags(book: Book, said: Assignment, off: Container[str], default: float) -> Iterator[Flag]:
    """Every flag of one user: `lambda2`, then every experiment that was ever started, by key."""
    yield flag(FLAG, book, said, off, default)
    for key in sorted(book.experiments):
        if book.experiments[key].running is not None:
            yield flag(key, book, said, off, default)


def flag(key: str, book: Book, said: Assignment, off: Container[str], default: float) -> Flag:
    """
    One flag of one user.

    Args:
        key: FLAG, the λ2 that the user is served where a request names none; or that of an experiment in the book.
        said: what the user is given.
        off: experiments that are switched off here.
        default: λ2 of who is in no experiment.
    """
    decision = said.decision
    if decision is not None and key in (FLAG, decision.key):
        return _decided(key, decision, said.words)
    if key == FLAG:
        reason: Reason = "DISABLED" if said.reason == "switched off" else "DEFAULT"
        return Flag(key, default, reason, NO_VARIANT, {"why": said.words})
    experiment = book.experiments[key]
    if experiment.state != "running" or key in off:
        state = experiment.state if experiment.state != "running" else "switched off on this replica"
        reason, why = "DISABLED", f"the experiment is {state}"
    else:
        reason, why = "DEFAULT", said.words if decision is None else f"{decision.key!r} has the unit"
    metadata: dict[str, str | float] = {"experiment": key, "version": experiment.config.version, "why": why}
    return Flag(key, default, reason, NO_VARIANT, metadata)


def _decided(key: str, decision: Decision, words: str) -> Flag:
    """Of an interleaving the first λ2 is the value, and the second one stands beside it."""
    metadata: dict[str, str | float] = {"experiment": decision.key, "version": decision.version, "why": words}
    if len(decision.lambda2) > 1:
        metadata["interleaved_with"] = decision.lambda2[1]
    reason: Reason = "TARGETING_MATCH" if decision.propensity is None else "SPLIT"
    return Flag(key, decision.lambda2[0], reason, decision.variant, metadata)
