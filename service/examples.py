"""Answers as the documentation shows them."""

from typing import Any

from causalrec.model import UNDEBIASABLE

ANSWER_EXAMPLE: dict[str, Any] = {
    "bundle_id": "0f343b0931126a20f133d67c2b018a3b5f1f3d8f2c1e4b7a9d6c5e8f7a1b2c3d",
    "model": "causalrec",
    "lambda2": 0.6,
    "lambda2_source": "request",
    "items": [
        {"item_id": "item-115", "rank": 1, "score": 0.496126012101},
        {"item_id": "item-185", "rank": 2, "score": 0.487209315998},
    ],
    "source": "personal",
    "exact": True,
}
UNDEBIASED_EXAMPLE: dict[str, Any] = {
    "bundle_id": "b81c6d2f5a3e47908c1d2e3f4a5b6c7d8e9f00112233445566778899aabbccdd",
    "model": "bpr",
    "undebiasable": UNDEBIASABLE["bpr"],
    "lambda2": 0.0,
    "lambda2_source": "default",
    "items": [{"item_id": "item-042", "rank": 1, "score": 2.117640893101}],
    "source": "personal",
    "exact": True,
}
EXPLAINED_EXAMPLE: dict[str, Any] = {
    **ANSWER_EXAMPLE,
    "items": [
        {
            "item_id": "item-115",
            "rank": 1,
            "score": 0.4352,
            "explain": {
                "match": 0.9,
                "visual_match": 0.8,
                "notice": 0.8,
                "undebiased": 0.576,
                "removed": 0.1408,
                "rank_at_zero": 3,
            },
        }
    ],
}
RULED_EXAMPLE: dict[str, Any] = {
    **ANSWER_EXAMPLE,
    "items": [
        {"item_id": "item-007", "rank": 1, "score": 0.120450210331, "boost": 0.0, "pinned": True},
        {"item_id": "item-185", "rank": 2, "score": 0.487209315998, "boost": 0.1},
    ],
    "pins_passed_over": [],
}
SEVERAL_EXAMPLE: dict[str, Any] = {"answers": [{**ANSWER_EXAMPLE, "lambda2": 0.0}, ANSWER_EXAMPLE]}
PATH_EXAMPLE: dict[str, Any] = {
    "bundle_id": ANSWER_EXAMPLE["bundle_id"],
    "model": "causalrec",
    "source": "personal",
    "k": 2,
    "max": 2.0,
    "pieces": [
        {"from": 0.0, "to": 0.7130541871921182, "item_ids": ["item-115", "item-185"]},
        {"from": 0.7130541871921182, "to": 2.0, "item_ids": ["item-185", "item-115"]},
    ],
    "truncated": False,
}
