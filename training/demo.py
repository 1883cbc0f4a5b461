"""
The main job in one command: the simulated shop, a model trained on its clicks, served, and one user's list explained.

    make demo            keeps serving until Ctrl-C
    make demo ONCE=1     ends after the explanation

    python -m training.demo --only-bundle --folder DIR --bundles DIR      what a container begins with

The service runs as a process of its own and is asked over HTTP, as a shop would.
"""

import argparse
import json
import logging
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from causalrec.bundle import Bundle, read_bundle, read_manifest
from causalrec.errors import BundleError, CausalRecError, ConfigError
from training.config import RunConfig, read_config
from training.report import markdown_table
from training.run import run
from training.shop import Shop, ShopConfig, expected_purchases_per_list, make_shop, write_shop

K = 10
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Comparison:
    """One user's answers over HTTP: at λ2 = 0 and at the bundle's default, explained."""

    user_id: str
    at_zero: dict[str, Any]
    at_default: dict[str, Any]

    @property
    def kept(self) -> int:
        """How many items stand in both lists."""
        return len(set(ids(self.at_zero)) & set(ids(self.at_default)))


def demo(folder: Path, port: int, *, once: bool) -> None:
    """Runs the demo; returns when the service ends (Ctrl-C), or after the explanation with `once`."""
    port = free_port(port)
    _say("1/4  making the simulated shop: 800 products with drawn pictures, 1,000 people who click on them")
    shop = make_shop(ShopConfig())
    data = write_shop(shop, folder / "shop")
    _say("2/4  training on the clicks (the purchases are kept to judge by) and exporting the bundle")
    config = shop_run()
    out = {"export": config.export.model_copy(update={"out": folder / "bundles"})}
    path = run(config.model_copy(update=out), data)
    _say(f"3/4  serving {path}")
    with serving(path, port, "--data-dir", str(folder / "state")) as (server, address):
        _say("4/4  asking for one user's top 10, at λ2 = 0 and at the default\n")
        print(explain(shop, read_bundle(path), address), flush=True)
        if not once:
            print(f"\nserving at {address} until Ctrl-C; {address}/docs describes every request", flush=True)
            until_interrupted(server)


def only_bundle(shop: ShopConfig, config: RunConfig, folder: Path, bundles: Path) -> Path:
    """
    The simulated shop in `folder` and the bundle trained on its clicks in `bundles`; nothing is written elsewhere.

    A bundle that the same run made before is left as it is, and neither the shop nor the model is made again.

    Returns: the bundle's directory.
    Raises: CausalRecError, OSError.
    """
    sections = {
        "images": config.images.model_copy(update={"cache": folder / "features"}),
        "fit": config.fit.model_copy(update={"checkpoints": folder / "runs"}),
        "export": config.export.model_copy(update={"out": bundles}),
    }
    config = config.model_copy(update=sections)
    newest = bundles / config.name
    try:
        if read_manifest(newest).run == config.model_dump(mode="json"):
            _say(f"the bundle is there already: {newest.resolve()}")
            return newest.resolve()
    except BundleError:
        pass  # there is none, or one of another version of the code
    _say(f"making the simulated shop in {folder} and a bundle of it in {bundles}")
    return run(config, write_shop(make_shop(shop), folder / "shop"), quiet=not sys.stderr.isatty())


def shop_run() -> RunConfig:
    """How the demo trains."""
    return read_config(Path(__file__).parent / "runs" / "shop.toml")


def until_interrupted(server: "subprocess.Popen[bytes]") -> None:
    """Returns at Ctrl-C. Raises: ConfigError when the service ends by itself."""
    try:
        server.wait()
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return
    raise ConfigError(f"the service ended by itself (exit code {server.returncode}); its own message stands above")


def free_port(port: int) -> int:
    """`port` itself, or any free one for 0. Raises: ConfigError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"port {port} is taken ({error.strerror}); use another: make demo PORT=8001") from error
        return int(probe.getsockname()[1])


@contextmanager
def serving(bundle: Path, port: int, *flags: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`python -m service` on `bundle`, ready; ended on leaving. Raises: ConfigError when it does not become ready."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "service", "--bundle", str(bundle), "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen([*command, *flags])
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _ready(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ConfigError("the service did not become ready; its own message stands above")
            time.sleep(0.05)
        yield server, address
    finally:
        server.send_signal(signal.SIGINT)  # without the grace that SIGTERM gives load balancers
        server.wait()


def explain(shop: Shop, bundle: Bundle, address: str) -> str:
    """The demonstration in words: who, both lists, what moved and why, and what the shop knows to be true."""
    shown = choose(bundle, address)
    default = bundle.manifest.lambda2
    titles = dict(zip(bundle.catalogue["item_id"], bundle.catalogue["title"], strict=True))
    rows = []
    for old, new in zip(shown.at_zero["items"], shown.at_default["items"], strict=True):
        moved = new["explain"]["rank_at_zero"] - new["rank"]
        arrow = f"↑{moved}" if moved > 0 else f"↓{-moved}" if moved < 0 else "="
        why = new["explain"]
        rows.append(
            [
                str(new["rank"]),
                titles[old["item_id"]],
                titles[new["item_id"]],
                arrow,
                *(f"{why[name]:.3f}" for name in ("match", "visual_match", "notice", "removed")),
                f"{new['score']:.3f}",
            ]
        )
    causes = ("moved", "match", "visual", "notice", "removed", "score")
    header = ["", "top at λ2 = 0", f"top at λ2 = {default.default:g}", *causes]
    return "\n".join(
        [
            f"{shown.user_id}: {shown.kept} of {K} items stay. Default λ2 = {default.default:g}, chosen on "
            f"{default.basis}; list proved exact: {str(shown.at_default['exact']).lower()}",
            "",
            markdown_table(header, rows),
            "",
            *_words(shown, titles),
            "",
            _truth(shop, bundle, address),
            "",
            f"curl '{_url(address, shown.user_id, default.default)}'",
        ]
    )


def choose(bundle: Bundle, address: str) -> Comparison:
    """Of the first 50 users, the one whose list changes as much as that of the average user among them."""
    comparisons = [
        Comparison(user, _load(_url(address, user, 0.0)), _load(_url(address, user, bundle.manifest.lambda2.default)))
        for user in bundle.users.ids[:50]
    ]
    mean = np.mean([comparison.kept for comparison in comparisons])
    return min(comparisons, key=lambda comparison: abs(comparison.kept - mean))


def ids(answer: dict[str, Any]) -> list[str]:
    """The item ids of an answer, in its order."""
    return [item["item_id"] for item in answer["items"]]


def _words(shown: Comparison, titles: dict[str, str]) -> list[str]:
    new = {item["item_id"]: item for item in shown.at_default["items"]}
    old = {item["item_id"]: item for item in shown.at_zero["items"]}
    lines = []
    for item_id in [item for item in old if item not in new][:3]:
        why = old[item_id]["explain"]
        lines.append(
            f"out: {titles[item_id]} (was {old[item_id]['rank']}): notice {why['notice']:.2f}, "
            f"match {why['match']:.2f}; seen for its picture"
        )
    for item_id in [item for item in new if item not in old][:3]:
        why = new[item_id]["explain"]
        lines.append(
            f"in:  {titles[item_id]} (was {why['rank_at_zero']}): notice {why['notice']:.2f}, "
            f"match {why['match']:.2f}; wanted whatever its picture"
        )
    return lines


def _truth(shop: Shop, bundle: Bundle, address: str) -> str:
    """Over every user: how much they truly like their ten, and what they would buy of them."""
    rows = {item: row for row, item in enumerate(shop.item_ids)}
    users = np.array([shop.user_ids.index(user) for user in bundle.users.ids])
    taste, bought = [], []
    for lambda2 in (0.0, bundle.manifest.lambda2.default):
        answers = _ask_all(address, bundle.users.ids, lambda2)
        lists = np.array([[rows[item] for item in ids(answer)] for answer in answers])
        taste.append(float(np.take_along_axis(shop.taste[users], lists, 1).mean()))
        bought.append(float(expected_purchases_per_list(shop, users, lists).mean()))
    return (
        f"What only a simulated shop can know, over all {len(users):,} users: the true taste for their ten is "
        f"{taste[0]:+.3f} at λ2 = 0\nand {taste[1]:+.3f} at the default (0: the average product, +1: a standard "
        f"deviation better); purchases per visit {bought[0]:.3f} and {bought[1]:.3f}."
    )


def _ask_all(address: str, users: Sequence[str], lambda2: float) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(users), 64):
        asked = [{"user_id": user, "k": K, "lambda2": lambda2} for user in users[start : start + 64]]
        request = urllib.request.Request(  # noqa: S310 - the address is our own
            f"{address}/v1/recommendations/batch",
            json.dumps({"requests": asked}).encode(),
            {"Content-Type": "application/json"},
        )
        answers += _load(request)["answers"]
    return answers


def _url(address: str, user_id: str, lambda2: float) -> str:
    query = urllib.parse.urlencode({"k": K, "lambda2": lambda2, "explain": "true"})
    return f"{address}/v1/users/{urllib.parse.quote(user_id, safe='')}/recommendations?{query}"


def _load(request: str | urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the address is our own
        found: dict[str, Any] = json.load(answer)
    return found


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health/ready", timeout=2):  # noqa: S310
            return True
    except (urllib.error.URLError, OSError):
        return False


def _say(line: str) -> None:
    print(f"\n=== {line}", flush=True)


def main() -> int:
    """The demo's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--folder", type=Path, default=Path(".cache/demo"), help="where shop and bundle go")
    parser.add_argument("--port", type=int, default=8000, help="of the service")
    parser.add_argument("--once", action="store_true", help="end after the explanation")
    parser.add_argument("--only-bundle", action="store_true", help="end when there is a bundle; what is there is kept")
    parser.add_argument("--bundles", type=Path, help="with --only-bundle: where the bundle goes [FOLDER/bundles]")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if options.only_bundle:
            print(only_bundle(ShopConfig(), shop_run(), options.folder, options.bundles or options.folder / "bundles"))
        else:
            demo(options.folder, options.port, once=options.once)
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or options.folder}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
