"""A ranked request as the bytes that are sent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from service.ranking import Ranked


@dataclass(frozen=True)
class Answer:
    """An encoded body, its strong entity tag (quoted, as the header has it), and the seconds each stage took."""

    body: bytes
    etag: str
    seconds: dict[str, float]


def encode(ranked: Ranked, bundle_id: str, item_ids: Sequence[str]) -> bytes:
    """
    The JSON of one answer, keys in a fixed order: equal answers are equal bytes.

    Args:
        item_ids: of the whole catalogue, in row order.
    """
    items = [
        {"item_id": item_ids[row], "rank": rank, "score": score}
        for rank, (row, score) in enumerate(
            zip(ranked.best.rows.tolist(), ranked.best.scores.tolist(), strict=True), start=1
        )
    ]
    if ranked.explanations is not None:
        for item, terms in zip(items, ranked.explanations, strict=True):
            item["explain"] = terms
    answer = {
        "bundle_id": bundle_id,
        "lambda2": ranked.lambda2,
        "lambda2_source": ranked.lambda2_source,
        "items": items,
        "source": ranked.source,
        "exact": ranked.best.exact,
    }
    if ranked.unknown_item_ids is not None:
        answer["unknown_item_ids"] = ranked.unknown_item_ids
    return orjson.dumps(answer)


def encode_batch(bodies: Sequence[bytes]) -> bytes:
    """The JSON of a batch: each answer's bytes as it would be alone."""
    return b'{"answers":[' + b",".join(bodies) + b"]}"


def entity_tag(body: bytes) -> str:
    """A strong tag: the first 128 bits of the body's sha256."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
