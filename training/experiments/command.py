"""The command line of `python -m training simulate-experiment`."""

import argparse
import json
from pathlib import Path
from typing import get_args

from causalrec.errors import ConfigError, DataError
from causalrec.files import write_atomically
from training.experiments.beside import beside_the_truth
from training.experiments.client import Client
from training.experiments.simulation import LAMBDA2, Kind, Simulated, Wishes, simulate
from training.experiments.words import described
from training.shop import Shop, ShopConfig, make_shop, read_shop

EXAMPLES = """\
The people of a simulated shop visit a service that serves the bundle trained on it, look at its lists and buy; an
experiment on λ2 goes on meanwhile. Ends with its report, beside what only a simulated shop can know.

examples:
  python -m training simulate-experiment --url http://127.0.0.1:8000 --shop .cache/demo/shop
  … --lambda2 0 0.6 1.2 --visits 50000 --before 5000      a new experiment; 5,000 visits before it, for CUPED
  … --kind interleaving --lambda2 0 1.2                   two λ2 mixed in one list
  … --key dial-2026-01 --visits 50000                     visits for one that runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, on the sub-command's parser."""
    parser.description, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--url", required=True, help="of the service, as in http://127.0.0.1:8000")
    parser.add_argument(
        "--shop", type=Path, required=True, help="directory of the simulated shop, or a JSON file of its configuration"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--key", help="a running experiment; without it one is made, started and left running")
    which.add_argument(
        "--lambda2", type=float, nargs="+", default=LAMBDA2, metavar="λ2", help="of the new experiment [0 0.4 … 1.6]"
    )
    parser.add_argument("--name", metavar="KEY", help="of the new experiment [simulated-, and the time]")
    parser.add_argument("--kind", choices=get_args(Kind), default="split", help="of the new experiment [split]")
    parser.add_argument("--visits", type=int, default=20_000, help="how many, while it runs [20,000]")
    parser.add_argument(
        "--visits-per-user",
        type=int,
        dest="per_user",
        metavar="N",
        help="of fewer users; without it everybody in the shop comes",
    )
    parser.add_argument("--before", type=int, default=0, metavar="N", help="visits before it starts, for CUPED [0]")
    parser.add_argument("--from", type=int, dest="first", metavar="N", help="go on with visit N, after Ctrl-C")
    parser.add_argument(
        "--concurrency", type=int, dest="threads", default=8, metavar="N", help="requests at a time [8]"
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=1,
        metavar="N",
        help="visits per request: 1 as a shop's pages ask, more by batch [1]",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed and the same lists give the same events [0]")
    parser.add_argument("--k", type=int, default=10, help="length of the lists [10]")
    parser.add_argument("--bundle", type=Path, help="what is served: the truth is computed from it, not asked for")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/experiment"), help="gets report.json, report.html [runs/experiment]"
    )


def command(options: argparse.Namespace) -> tuple[str, int]:
    """Runs it: what is to be printed, and the exit status, 0 done, 130 interrupted. Raises: CausalRecError."""
    wishes = wished(options)
    shop = named_shop(options.shop)
    with Client(options.url) as client:
        found = simulate(client, shop, wishes)
        text = f"{told(found)}\n\n{saved(client, found, options.out)}"
    if found.stopped_at is None:
        return text, 0
    return f"{text}\n\ninterrupted; with --key {found.key} --from {found.stopped_at} the same command goes on", 130


def wished(options: argparse.Namespace) -> Wishes:
    """What is to be simulated. Raises: ConfigError naming the option that cannot be."""
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise ConfigError(f"--{FLAGS.get(name, name).replace('_', '-')} {value}: must be at least {least}")
    if options.key is not None and options.before and options.first is None:
        raise ConfigError(f"--before {options.before}: {options.key} runs already; leave --before out, or --key")
    return Wishes(**{name: getattr(options, name) for name in Wishes._fields} | {"lambda2": tuple(options.lambda2)})


def named_shop(path: Path) -> Shop:
    """The shop in the directory `path`, or of the configuration in the file. Raises: DataError."""
    if path.is_dir():
        return read_shop(path)
    try:
        found = json.loads(path.read_bytes())
        return make_shop(ShopConfig.model_validate(found.get("config", found)))
    except OSError as error:
        raise DataError(f"--shop {path}: cannot be read ({error.strerror}); name a shop's directory") from error
    except (ValueError, AttributeError) as error:  # pydantic's is a ValueError
        raise DataError(f"--shop {path}: is no shop's configuration: {error}") from error


def told(found: Simulated) -> str:
    """The report, and the truth beside it."""
    return f"{described(found.report)}\n\n{beside_the_truth(found.report, found.truth, found.totals, *found.tried)}"


def saved(client: Client, found: Simulated, out: Path) -> str:
    """Writes report.json and report.html to `out`; returns where to read them."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "report.json", json.dumps(found.report, indent=2, ensure_ascii=False).encode() + b"\n")
    write_atomically(out / "report.html", client.page(found.key))
    return f"to read in a browser: {client.page_url(found.key)}, saved as {out / 'report.html'}"


LEAST = {"visits": 1, "per_user": 1, "before": 0, "first": 0, "threads": 1, "at_once": 1, "seed": 0, "k": 1}
FLAGS = {"per_user": "visits-per-user", "first": "from", "threads": "concurrency"}
