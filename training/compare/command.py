"""The command line of `python -m training compare`."""

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causalrec.errors import ConfigError
from causalrec.files import try_lock
from training.compare.compare import Compared, Wishes, compare
from training.compare.config import CompareConfig, read_compare
from training.shop import ShopConfig, make_shop, write_shop

log = logging.getLogger(__name__)

QUICK = Path(__file__).parents[1] / "runs" / "compare-quick.toml"
QUICK_SHOP = ShopConfig(items=300, users=400)

EXAMPLES = """\
Every model on the same split, with the same features and the same search for settings, judged by the same metrics.
Ends with a report: OUT/report.md, its figures, OUT/comparison.json. Interrupted, the same command goes on; a changed
configuration makes anew what it touches, and nothing else.

examples:
  python -m training compare --quick                         a small simulated shop, every model, minutes
  python -m training compare --config my.toml --data DIR     yours; training/runs/compare-*.toml are examples
  … --models VBPR "CausalRec MML"                            only these are trained; the report has all that is there
  … --report-only                                            the report once more, nothing trained
  … --jobs 2                                                 two at a time, one thread each; the figures are the same
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside --config, --data, --skip-bad and --quiet, on the sub-command's parser."""
    parser.description, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="everything goes there [runs/NAME of the configuration]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="the small simulated shop, in place of --config and --data"
    )
    parser.add_argument("--models", nargs="+", metavar="LABEL", help="search and train only these")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="models trained at a time, one thread each [1]"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--report-only", action="store_true", help="train nothing: the report of what is there")
    which.add_argument("--fresh", action="store_true", help="forget settings and cells made before (not the peers')")


def command(options: argparse.Namespace) -> tuple[str, int]:
    """
    Runs it: what is to be printed, and the exit status: 0 done, 2 some cells could not be made, 130 interrupted.

    Raises: CausalRecError.
    """
    if options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs}: must be at least 1")
    config, data, out = _inputs(options)
    wishes = Wishes(
        command=_quoted(options),
        labels=None if options.models is None else tuple(options.models),
        jobs=options.jobs,
        report_only=options.report_only,
        fresh=options.fresh,
        skip_bad=options.skip_bad,
        quiet=options.quiet,
    )
    try:
        with _alone(out):
            compared = compare(config, data, out, wishes)
    except KeyboardInterrupt:
        return "\ninterrupted; the same command goes on where it was", 130
    return _told(compared)


def _inputs(options: argparse.Namespace) -> tuple[CompareConfig, Path, Path]:
    if options.quick:
        if options.config is not None or options.data is not None:
            raise ConfigError("--quick has a configuration and a shop of its own; leave --config and --data out")
        config = read_compare(QUICK)
        out = options.out or Path("runs") / config.name
        images = config.images.model_copy(update={"cache": out / "features"})
        return config.model_copy(update={"images": images}), write_shop(make_shop(QUICK_SHOP), out / "shop"), out
    if options.config is None or options.data is None:
        missing = "--config FILE" if options.config is None else "--data DIR"
        raise ConfigError(f"{missing} is needed; or --quick, for a small simulated shop")
    config = read_compare(options.config)
    return config, options.data, options.out or Path("runs") / config.name


def _quoted(options: argparse.Namespace) -> str:
    """The command as somebody else would type it: no folder of this machine."""
    if options.quick:
        return "python -m training compare --quick"
    config = options.config.name if options.config.is_absolute() else options.config
    return f"python -m training compare --config {config} --data DIR"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else compares into `out` meanwhile. Raises: ConfigError when somebody does."""
    out.mkdir(parents=True, exist_ok=True)
    handle = try_lock(out / ".lock")
    if handle is None:
        raise ConfigError(f"--out {out}: another comparison is at work there; wait for it, or take another folder")
    try:
        yield
    finally:
        os.close(handle)


def _told(compared: Compared) -> tuple[str, int]:
    if not compared.problems:
        return str(compared.report), 0
    return "\n".join([*(f"error: {problem}" for problem in compared.problems), str(compared.report)]), 2
