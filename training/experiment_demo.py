"""
An A/B test of λ2 from its first visitor to its verdict, on a shop whose true best λ2 is known.

    make demo-experiment            keeps serving until Ctrl-C, so that the report can be looked at
    make demo-experiment ONCE=1     ends after the report

The simulated shop → a bundle → the service; an experiment over five λ2; the shop's people as visitors over HTTP; the
report, beside the truth; and how soon the experiment ends where it is stopped. A second run takes the shop and the
bundle that the first one made.
"""

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from causalrec.bundle import read_manifest
from causalrec.errors import BundleMissing, CausalRecError, ConfigError
from training.config import RunConfig, read_config
from training.demo import free_port, serving, until_interrupted
from training.experiments.client import Client
from training.experiments.command import saved, told
from training.experiments.simulation import Wishes, simulate
from training.run import run
from training.shop import Shop, ShopConfig, make_shop, write_shop

SHOP = ShopConfig(users=4000, pull=2.0)
"""A shop with something to find: λ2 = 1.1 truly sells 8 % more than 0, while people click less and less."""
FORM = "authors"
"""Of the score: where λ2 removes too much, sales fall gently, so that λ2 some tenths apart tell where the top is."""
VISITS = 20_000
KEY = "dial"  # splits users alike in every run
AT_ONCE = 32  # visits per request: the demo is to be short
WATCHED, PATIENCE = 50, 10.0  # users who are asked about whether the stop has reached them, and for how many seconds


def demo(folder: Path, port: int, shop_config: ShopConfig, base: RunConfig, wishes: Wishes, *, once: bool) -> None:
    """The whole demo in `folder`. Raises: CausalRecError."""
    port = free_port(port)
    shutil.rmtree(folder / "state", ignore_errors=True)  # of an earlier run
    _say(
        f"1/4  a simulated shop: {shop_config.items:,} products, {shop_config.users:,} people; a model of their clicks"
    )
    shop = make_shop(shop_config)
    bundle = trained(folder, shop, base)
    _say(f"2/4  serving {bundle}")
    with serving(bundle, port, "--data-dir", str(folder / "state")) as (server, url), Client(url) as client:
        lambda2 = ", ".join(f"{each:g}" for each in wishes.lambda2)
        _say(f"3/4  an experiment: λ2 = {lambda2}; {wishes.visits:,} visits over HTTP")
        found = simulate(client, shop, wishes._replace(bundle=bundle))
        if found.stopped_at is not None:
            print("\ninterrupted: this is what was reached", flush=True)
        print(f"\n{told(found)}\n\n{saved(client, found, folder)}", flush=True)
        _say("4/4  stopping the experiment")
        seconds = stop(client, found.key, shop.user_ids[:WATCHED])
        print(f"{seconds:.3f} s after the stop was asked for, nobody's answer is in the experiment", flush=True)
        if found.stopped_at is None and not once:
            print(f"\nserving at {url} until Ctrl-C: {client.page_url(found.key)}", flush=True)
            until_interrupted(server)


def trained(folder: Path, shop: Shop, base: RunConfig) -> Path:
    """The bundle that a run of `base` makes of the shop, from an earlier run where there is one of equal settings."""
    data = write_shop(shop, folder / "shop")
    config = base.model_copy(
        update={
            "export": base.export.model_copy(update={"out": folder / "bundles"}),
            "fit": base.fit.model_copy(update={"checkpoints": folder / "runs"}),
        }
    )
    there = config.export.out / config.name
    try:
        if read_manifest(there).run == config.model_dump(mode="json"):
            return there.resolve()
    except BundleMissing:
        pass
    return run(config, data)


def stop(client: Client, key: str, user_ids: Sequence[str]) -> float:
    """Stops the experiment; seconds until no answer to these users is in it. Raises: ConfigError after PATIENCE."""
    begun = time.monotonic()
    client.stop(key, "the demonstration is over")
    while any(answer.experiment == key for answer in client.ask(user_ids, 1)):
        if time.monotonic() - begun > PATIENCE:
            raise ConfigError(f"{key} was stopped {PATIENCE:g} s ago, and answers are still in it")
    return time.monotonic() - begun


def demo_config() -> RunConfig:
    """The training run of the demo's shop."""
    config = read_config(Path(__file__).parent / "runs" / "shop.toml")
    return config.model_copy(update={"model": config.model.model_copy(update={"form": FORM})})


def _say(line: str) -> None:
    print(f"\n=== {line}", flush=True)


def main() -> int:
    """The demo's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.experiment_demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, default=Path(".cache/experiment"), help="where everything goes")
    parser.add_argument("--port", type=int, default=8000, help="of the service")
    parser.add_argument("--visits", type=int, default=VISITS, help=f"more take longer and say more [{VISITS:,}]")
    parser.add_argument("--once", action="store_true", help="end after the report")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        wishes = Wishes(name=KEY, visits=max(1, options.visits), at_once=AT_ONCE, threads=3)
        demo(options.folder, options.port, SHOP, demo_config(), wishes, once=options.once)
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
