"""One simulated experiment, from its first visit to its report."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from causalrec.errors import ConfigError
from training.experiments.client import Client, Unanswered
from training.experiments.progress import Progress
from training.experiments.traffic import Crowd, Totals, visitors
from training.experiments.truth import Truth, of_bundle, of_service
from training.shop import Shop

log = logging.getLogger(__name__)

Json = dict[str, Any]
Kind = Literal["split", "interleaving", "random", "tuned"]
LAMBDA2 = (0.0, 0.4, 0.8, 1.2, 1.6)
FLOOR, EVERY = 0.05, 60.0  # of a tuned experiment: share that every variant keeps, seconds between changes
ENOUGH = 500  # visits of which one at least should be in the experiment
NOT_FOUND = 404


class Wishes(NamedTuple):
    """
    What is to be simulated.

    key: of a running experiment; None makes one of `kind` over `lambda2`, called `name` or by the time. visits: while
    it runs; per_user: visits of each user, None: everybody in the shop comes. before: visits before it starts. first:
    the visit to go on with, after one was interrupted; counted from the first one before. threads: requests at a time,
    of at_once visits each. bundle: what is served, to compute the truth from; None: the service is asked.
    """

    key: str | None = None
    name: str | None = None
    kind: Kind = "split"
    lambda2: tuple[float, ...] = LAMBDA2
    visits: int = 20_000
    per_user: int | None = None
    before: int = 0
    first: int | None = None
    threads: int = 8
    at_once: int = 1
    seed: int = 0
    k: int = 10
    bundle: Path | None = None


class Simulated(NamedTuple):
    """tried: λ2 from, to. stopped_at: the first visit that is not known to be done, where Ctrl-C ended it."""

    key: str
    report: Json
    truth: Truth
    totals: Totals
    tried: tuple[float, float]
    stopped_at: int | None


def simulate(client: Client, shop: Shop, wishes: Wishes) -> Simulated:
    """
    The experiment is made and started where it is not there yet; it is left running. Ctrl-C ends the traffic early.

    Raises: ConfigError, DataError, BundleError.
    """
    served = client.bundle_id()
    order = visitors(shop, wishes.visits, wishes.per_user, wishes.before, wishes.seed)
    made = _made(client, wishes, len(np.unique(order))) if wishes.key is None else running(client, wishes.key)
    key, config = made["key"], made["config"]
    lambda2 = config["between"] or [each["lambda2"] for each in config["variants"]]
    tried = (min(lambda2), max(lambda2))
    if wishes.bundle is None:
        truth = of_service(shop, client, wishes.k, *tried, np.array(lambda2), wishes.threads)
    else:
        truth = of_bundle(shop, wishes.bundle, served, wishes.k, np.array(lambda2))
    crowd = Crowd(shop, order, name=key, key=key, seed=wishes.seed, k=wishes.k)
    progress = Progress(crowd, client, threads=wishes.threads, at_once=wishes.at_once)
    interrupted = _traffic(client, crowd, progress, wishes, key)
    return Simulated(
        key, client.report_of_now(key), truth, progress.totals, tried, progress.done if interrupted else None
    )


def _made(client: Client, wishes: Wishes, users: int) -> Json:
    if wishes.first is not None:
        raise ConfigError(f"--from {wishes.first} goes on with an experiment: name it with --key")
    key = wishes.name or f"{time.strftime('simulated-%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    return client.create(body(key, wishes.kind, wishes.lambda2, users))


def _traffic(client: Client, crowd: Crowd, progress: Progress, wishes: Wishes, key: str) -> bool:
    """All visits; whether Ctrl-C ended them."""
    total = len(crowd.order)
    try:
        if wishes.key is None:
            progress.send(range(wishes.before), "before it starts")
            client.start(key)
            log.info("experiment %s is running: %s", key, client.page_url(key))
        first = wishes.before if wishes.first is None else wishes.first
        progress.send(range(first, total), "visits", not_outside(client, crowd, key))
    except KeyboardInterrupt:
        return True
    return False


def body(key: str, kind: Kind, lambda2: Sequence[float], users: int) -> Json:
    """What POST /v1/experiments takes for these λ2. Raises: ConfigError when they are too few or too many."""
    if len(set(lambda2)) < 2 or (kind == "interleaving" and len(set(lambda2)) != 2):
        wanted = "two values" if kind == "interleaving" else "at least two values"
        raise ConfigError(f"--lambda2 {' '.join(f'{each:g}' for each in lambda2)}: {kind} needs {wanted}, different")
    made: Json = {"key": key, "kind": kind, "description": "simulated traffic", "planned_units": users}
    if kind == "random":
        return made | {"between": [min(lambda2), max(lambda2)]}
    made["variants"] = [{"lambda2": each} for each in lambda2]
    return made | ({"tuning": {"floor": FLOOR, "every": EVERY}} if kind == "tuned" else {})


def running(client: Client, key: str) -> Json:
    """The experiment. Raises: ConfigError where there is none, or it does not run."""
    try:
        found = client.experiment(key)
    except Unanswered as error:
        if error.status == NOT_FOUND:
            raise ConfigError(f"--key {key}: {error}; without --key one is made") from error
        raise
    if found["state"] != "running":
        raise ConfigError(
            f"--key {key}: the experiment is {found['state']}, so nobody would be in it; start it with "
            f"POST {client.url}/v1/experiments/{key}/start, or leave --key out for a new one"
        )
    return found


def not_outside(client: Client, crowd: Crowd, key: str) -> Callable[[Totals], None]:
    """Raises ConfigError when visits go by and none is in the experiment, with the service's reason."""

    def check(totals: Totals) -> None:
        if totals.visits >= ENOUGH and not totals.inside:
            user_id = crowd.shop.user_ids[crowd.order[0]]
            raise ConfigError(
                f"none of {totals.visits:,} visits was in experiment {key}; {user_id}, for one: "
                f"{client.reason(key, user_id)}"
            )

    return check
