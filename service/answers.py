"""What was ranked as the bytes that are sent."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from causalrec.manifest import Manifest
from service.ranking import Ranked, Traced


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded body, its strong entity tag (quoted, as the header has it), its bundle, and each stage's seconds."""

    body: bytes
    etag: str
    bundle_id: str
    seconds: Mapping[str, float]


def encode(ranked: Ranked, manifest: Manifest) -> bytes:
    """The JSON of one list of that bundle, keys in a fixed order: equal answers are equal bytes."""
    plan = ranked.plan
    item_ids = plan.stock.catalogue.ids
    items: list[dict[str, object]] = [
        {"item_id": item_ids[row], "rank": rank, "score": score}
        for rank, (row, score) in enumerate(
            zip(ranked.best.rows.tolist(), ranked.best.scores.tolist(), strict=True), start=1
        )
    ]
    if ranked.boosts is not None:
        for item, boost in zip(items, ranked.boosts.tolist(), strict=True):
            item["boost"] = boost
    if ranked.pinned is not None:
        for place in np.flatnonzero(ranked.pinned):
            items[place]["pinned"] = True
    if ranked.explanations is not None:
        for item, terms in zip(items, ranked.explanations, strict=True):
            item["explain"] = terms
    if ranked.teams:
        for item, team in zip(items, ranked.teams, strict=True):
            item["lambda2"] = plan.lambda2[team == "b"]  # of what is in both lists: the first's
    answer = _of_bundle(manifest)
    answer |= {
        "lambda2": None if ranked.teams else ranked.lambda2,
        "lambda2_source": plan.lambda2_source,
    }
    if (decision := plan.decision) is not None:
        answer["experiment"] = {
            "key": decision.key,
            "version": decision.version,
            "variant": decision.variant,
            "propensity": decision.propensity,
        }
    answer |= {"items": items, "source": plan.source, "exact": ranked.best.exact}
    if plan.unknown_item_ids is not None:
        answer["unknown_item_ids"] = plan.unknown_item_ids
    if plan.pins_passed_over is not None:
        answer["pins_passed_over"] = plan.pins_passed_over
    return orjson.dumps(answer)


def encode_several(bodies: Sequence[bytes]) -> bytes:
    """The JSON of several answers: each one's bytes as they would be alone."""
    return b'{"answers":[' + b",".join(bodies) + b"]}"


def encode_path(traced: Traced, manifest: Manifest) -> bytes:
    """The JSON of a λ2 path of that bundle."""
    pieces = [
        {"from": piece.start, "to": piece.end, "item_ids": [traced.item_ids[row] for row in piece.rows.tolist()]}
        for piece in traced.path.pieces
    ]
    return orjson.dumps(
        _of_bundle(manifest)
        | {
            "source": traced.source,
            "k": traced.k,
            "max": traced.maximum,
            "pieces": pieces,
            "truncated": traced.path.truncated,
        }
    )


def _of_bundle(manifest: Manifest) -> dict[str, object]:
    """Who answered: how every answer begins."""
    model = manifest.model
    said: dict[str, object] = {"bundle_id": manifest.content_id, "model": model.name}
    return said if model.undebiasable is None else said | {"undebiasable": model.undebiasable}


def entity_tag(body: bytes) -> str:
    """A strong tag: the first 128 bits of the body's sha256."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
