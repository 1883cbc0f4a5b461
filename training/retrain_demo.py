"""
The loop closed: a shop's service is told what its visitors did, and the next model learns from it.

    make retrain

The simulated shop → a bundle → the service, whose lists the simulated people visit; every impression, click and
purchase is posted to it as an event → exported → a second bundle, from the shop's interactions and the events. Then
both are judged alike: on the held-out purchases, with the same items left out.
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from causalrec.bundle import Bundle, Seen, read_bundle
from causalrec.errors import CausalRecError, ConfigError
from causalrec.search import Searcher
from training.config import RunConfig, read_config
from training.data.events import read_events
from training.demo import free_port, serving
from training.evaluate import evaluate
from training.metrics import Relevant
from training.report import markdown_table
from training.run import run
from training.shop import Shop, ShopConfig, expected_purchases_per_list, make_shop, simulate_visits, write_shop
from training.shop.catalogue import Rows

K = 10
ASKED_AT_ONCE, POSTED_AT_ONCE = 50, 1000
VISITS = 3  # per person
Event = dict[str, Any]
Pairs = dict[str, set[str]]  # item ids by user id


@dataclass(frozen=True)
class Judged:
    """What a bundle was trained on, and what it brings."""

    interactions: int
    items: int
    lambda2: float
    ndcg: float
    """NDCG@50 of the held-out purchases, at the bundle's default λ2."""
    purchases: float
    """Expected purchases of a visit to its top 10, which only a simulated shop can know."""


def retrain(folder: Path, shop_config: ShopConfig, base: RunConfig, port: int = 0) -> tuple[Judged, Judged]:
    """The whole loop in `folder`; both models' figures. Raises: CausalRecError."""
    for made in ("state", "events"):
        shutil.rmtree(folder / made, ignore_errors=True)  # of an earlier run
    _say("1/5  making the simulated shop and training on its clicks")
    shop = make_shop(shop_config)
    data = write_shop(shop, folder / "shop")
    out = {
        "export": base.export.model_copy(update={"out": folder / "bundles"}),
        "fit": base.fit.model_copy(update={"checkpoints": folder / "runs"}),
    }
    before = run(config := base.model_copy(update=out), data)
    _say(f"2/5  serving it; {len(shop.user_ids):,} people visit their lists {VISITS} times, and the service is told")
    with serving(before, free_port(port), "--data-dir", str(folder / "state")) as (_, address):
        for visit in range(VISITS):
            _visit(shop, address, visit)
        _say("3/5  exporting the events")
        _export(folder)
    _say("4/5  training again, on interactions and events")
    events = {"data": base.data.model_copy(update={"events": folder / "events"})}
    after = run(config.model_copy(update=events), data)
    _say("5/5  what changed")
    return judge(shop, read_bundle(before), read_bundle(after), folder / "events")


def _visit(shop: Shop, address: str, visit: int) -> None:
    """Everybody asks for a list, looks at it as the shop's people do, and what they do is posted."""
    rows = {item: row for row, item in enumerate(shop.item_ids)}
    rng, users = np.random.default_rng((shop.config.seed, visit)), shop.user_ids
    for start in tqdm(range(0, len(users), ASKED_AT_ONCE), desc=f"visit {visit + 1}", unit="lists", disable=None):
        here = users[start : start + ASKED_AT_ONCE]
        asked = [{"user_id": user, "k": K} for user in here]
        answer, request_id = _post(address, "/v1/recommendations/batch", {"requests": asked})
        lists = np.array([[rows[item["item_id"]] for item in each["items"]] for each in answer["answers"]])
        visits = simulate_visits(shop, np.arange(start, start + len(here)), lists, rng)
        happened = {"impression": visits.seen, "click": visits.clicked, "purchase": visits.purchased}
        events: list[Event] = [
            {
                "event_id": f"{visit}-{here[user]}-{lists[user, place]}-{type_}",
                "user_id": here[user],
                "item_id": shop.item_ids[lists[user, place]],
                "type": type_,
                "value": float(visits.revenue[user, place]) if type_ == "purchase" else None,
                "timestamp": time.time(),
                "request_id": request_id,
            }
            for type_, did in happened.items()
            for user, place in np.argwhere(did).tolist()
        ]
        for first in range(0, len(events), POSTED_AT_ONCE):
            _post(address, "/v1/events", {"events": events[first : first + POSTED_AT_ONCE]})


def _export(folder: Path) -> None:
    command = [sys.executable, "-m", "service", "events", "export", "--once"]
    command += ["--data-dir", str(folder / "state"), "--to", str(folder / "events")]
    if subprocess.run(command, check=False).returncode:
        raise ConfigError("the export failed; its own message stands above")


def judge(shop: Shop, before: Bundle, after: Bundle, events: Path) -> tuple[Judged, Judged]:
    """
    Both bundles on the held-out purchases, fairly: what either has learned from or was told as an event is left out of
    both's lists, and of what is to be found.
    """
    acts, _, _ = read_events(events, pl.Series(shop.item_ids), ("click", "cart", "purchase", "rating"))
    known: Pairs = {user: set() for user in shop.user_ids}
    for user, item in [*acts.select("user_id", "item_id").iter_rows(), *_trained(before), *_trained(after)]:
        known[user].add(item)
    return _judged(shop, before, known), _judged(shop, after, known)


def _judged(shop: Shop, bundle: Bundle, known: Pairs) -> Judged:
    bought = {user: _ids(shop, row) - known[user] for row, user in enumerate(shop.user_ids)}
    users, lambda2 = len(bundle.users), bundle.manifest.lambda2.default
    seen = Seen.of(*_rows(bundle, known), users)
    relevant = Relevant.of(*_rows(bundle, bought), users)
    found = evaluate(bundle.weights, seen, {"clicks": relevant}, (0.0, lambda2), 50, references=False, quiet=True)
    searcher = Searcher(bundle.weights, "scan")
    rows = {item: row for row, item in enumerate(shop.item_ids)}
    lists = [searcher.scan(bundle.weights.user(user), lambda2, K, seen.items(user)).rows for user in range(users)]
    listed = np.array([[rows[bundle.items.ids[item]] for item in best.tolist()] for best in lists])
    people = np.array([shop.user_ids.index(user) for user in bundle.users.ids])
    return Judged(
        int(bundle.manifest.statistics["interactions"]),
        len(bundle.items),
        lambda2,
        found.mean(lambda2, "NDCG@50"),
        float(expected_purchases_per_list(shop, people, listed).mean()),
    )


def _trained(bundle: Bundle) -> Iterator[tuple[str, str]]:
    for row, user in enumerate(bundle.users.ids):
        for item in bundle.seen.items(row).tolist():
            yield user, bundle.items.ids[item]


def _ids(shop: Shop, row: int) -> set[str]:
    return {shop.item_ids[item] for item in np.concatenate([shop.valid[row], shop.test[row]]).tolist()}


def _rows(bundle: Bundle, pairs: Pairs) -> tuple[Rows, Rows]:
    """Rows of users and of items, [n] each, of those pairs whose user and item the bundle has."""
    found = [
        (user, item)
        for user_id, items in pairs.items()
        if (user := bundle.users.row(user_id)) is not None
        for item_id in items
        if (item := bundle.items.row(item_id)) is not None
    ]
    user_rows, item_rows = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return user_rows, item_rows


def table(before: Judged, after: Judged) -> str:
    """Both in words and figures."""
    names = ["interactions", "items", "default λ2", "NDCG@50 of purchases", "purchases per visit"]
    columns = [
        [f"{each.interactions:,}", f"{each.items:,}", f"{each.lambda2:g}", f"{each.ndcg:.4f}", f"{each.purchases:.3f}"]
        for each in (before, after)
    ]
    return markdown_table(["", "before", "after"], [list(row) for row in zip(names, *columns, strict=True)])


def _post(address: str, path: str, body: object) -> tuple[Any, str]:
    """What is answered, and its X-Request-ID."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer), answer.headers["X-Request-ID"]


def _say(line: str) -> None:
    print(f"\n=== {line}", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.retrain_demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, default=Path(".cache/retrain"), help="where everything goes")
    parser.add_argument("--port", type=int, default=0, help="of the service; 0 is any free one")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = read_config(Path(__file__).parent / "runs" / "shop.toml")
        print(table(*retrain(options.folder, ShopConfig(), config, options.port)))
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
