"""Whoever shares a batch, the answer is the same."""

import itertools
from functools import partial

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from causalrec.equations import Form
from tests.service.conftest import FORMS, Gate, Serve, held

ITEMS = [f"item-{n:03d}" for n in range(40)]


def mixed() -> list[dict[str, object]]:
    """64 requests of every sort: users, cold ones, λ2 alone and in lists, k, exclusions, pools, explanations."""
    users = itertools.cycle(["ann", "bob", "zoë", "sated", "user-07", "nobody", "a/b"])
    extras: itertools.cycle[dict[str, object]] = itertools.cycle(
        [
            {},
            {"exclude_item_ids": ITEMS[:5]},
            {"explain": True},
            {"candidate_item_ids": [*ITEMS[::2], "unknown"]},
            {"exclude_seen": False, "k": 300},
            {"lambda2": [0.0, 1.1, 0.3, 1.1]},
            {"candidates": 3},
            {"lambda2": [0.5], "explain": True, "candidate_item_ids": ITEMS},
        ]
    )
    return [{"user_id": next(users), "lambda2": n % 8 * 0.4, "k": 1 + n % 11, **next(extras)} for n in range(64)]


def post(client: TestClient, body: dict[str, object]) -> Response:
    return client.post("/v1/recommendations", json=body)


@pytest.mark.parametrize("form", FORMS)
def test_64_mixed_requests_in_one_batch_are_the_64_alone(
    serve: Serve, folders: dict[Form, object], gate: Gate, form: Form
) -> None:
    """Byte for byte, by scan and by certificate."""
    client = serve(bundle=folders[form], candidates=60, max_batch=64)
    gate.open.set()
    alone = [post(client, body).content for body in mixed()]
    gate.open.clear()
    gate.reached.clear()

    with held(client, gate, [partial(post, client, body) for body in mixed()]) as waiting:
        gate.sizes.clear()

    assert [future.result().content for future in waiting] == alone
    assert gate.sizes == [64]
    assert "causalrec_batch_size_sum 129.0" in client.get("/metrics").text
