"""The trainer's command line: `python -m training --help`."""

import argparse
import logging
import os
import sys
from pathlib import Path

from causalrec.bundle import read_bundle, read_manifest
from causalrec.errors import CausalRecError, ConfigError
from training import convert
from training.compare import command as comparison
from training.config import RunConfig, as_toml, read_config
from training.evaluate import sweep_rows
from training.experiments import command as simulated
from training.metrics import Bootstrap
from training.prepare import prepare
from training.report import describe, sweep_table
from training.run import finish, run, sweep, trained_model

log = logging.getLogger(__name__)

EPILOG = """\
examples:
  python -m training --print-config > my.toml      a configuration to start from, every field explained
  python -m training --config my.toml --data DIR   data → images → fit → evaluate → export; prints the bundle's path
  python -m training --config my.toml --data DIR --resume   go on after Ctrl-C, with the same result
  python -m training inspect bundles/NAME          what is in a bundle: sweep over λ2, dial, warnings
  python -m training evaluate bundles/NAME --data DIR       judge a bundle on (other) data
  python -m training export --config my.toml --data DIR     export the checkpoint, e.g. under another null treatment
  python -m training convert --help                the Amazon review files, as a data directory
  python -m training compare --help                every model of the paper on the same data, and a report
  python -m training simulate-experiment --help    an experiment on λ2, with the simulated shop's people as visitors
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done, 2 a clear error, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING if options.quiet else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    try:
        return _dispatch(parser, options)
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        return 130


def _dispatch(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.print_config:
        print(as_toml(read_config(options.config) if options.config else RunConfig()), end="")
        return 0
    if options.command in OF_THEIR_OWN:
        return OF_THEIR_OWN[options.command](options)
    if options.data is None:
        parser.error("--data DIR is needed: the folder with interactions, items and images (see --help)")
    if options.command == "evaluate":
        return _evaluate(options)
    if options.config is None:
        parser.error("--config FILE is needed; --print-config writes one to start from")
    config = read_config(options.config)
    if options.command == "export":
        prepared = prepare(config, options.data, skip_bad=options.skip_bad)
        path = finish(config, prepared, trained_model(config, prepared), quiet=options.quiet)
    else:
        path = run(config, options.data, resume=options.resume, skip_bad=options.skip_bad, quiet=options.quiet)
    log.info("%s", describe(read_manifest(path)))
    print(path)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    print(describe(read_bundle(options.bundle).manifest))
    return 0


def _convert(options: argparse.Namespace) -> int:
    print(convert.command(options))
    return 0


def _simulate(options: argparse.Namespace) -> int:
    text, status = simulated.command(options)
    print(text)
    return status


def _compare(options: argparse.Namespace) -> int:
    text, status = comparison.command(options)
    print(text, file=sys.stdout if status == 0 else sys.stderr)
    return status


OF_THEIR_OWN = {"inspect": _inspect, "convert": _convert, "simulate-experiment": _simulate, "compare": _compare}


def _evaluate(options: argparse.Namespace) -> int:
    bundle = read_bundle(options.bundle)
    config = read_config(options.config) if options.config else RunConfig.model_validate(bundle.manifest.run)
    prepared = prepare(config, options.data, skip_bad=options.skip_bad)
    if (prepared.dataset.users.ids, prepared.dataset.items.ids) != (bundle.users.ids, bundle.items.ids):
        raise ConfigError(
            f"{options.data}: its users and items after the {config.data.k_core}-core are not the bundle's "
            f"({len(prepared.dataset.users)} and {len(prepared.dataset.items)} against {len(bundle.users)} and "
            f"{len(bundle.items)}); give the data it was trained on, or train a bundle on this data"
        )
    valid, test = sweep(config, prepared, bundle.weights, quiet=options.quiet)
    rows = sweep_rows(valid, test, Bootstrap(config.evaluate.bootstrap, config.seed))
    overlap = {str(value): float(shares.mean()) for value, shares in valid.overlap.items()}
    for part in ("valid", "test"):
        print(f"{part}:\n{sweep_table(rows, part, overlap)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="the run's TOML file")
    shared.add_argument(
        "--data", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="interactions, items, images"
    )
    shared.add_argument(
        "--skip-bad", action="store_true", default=argparse.SUPPRESS, help="count bad lines and pictures and go on"
    )
    shared.add_argument(
        "--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress bars, no report, only the result"
    )
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train CausalRec on interactions and images and export a bundle for the service.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared],
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--print-config", action="store_true", help="print the configuration, documented, and stop")
    parser.set_defaults(config=None, data=None, skip_bad=False, quiet=False, command=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    evaluate = commands.add_parser("evaluate", parents=[shared], help="judge a bundle on data")
    evaluate.add_argument("bundle", type=Path, metavar="BUNDLE")
    commands.add_parser("export", parents=[shared], help="export the run's checkpoint without training on")
    inspect = commands.add_parser("inspect", parents=[shared], help="what is in a bundle")
    inspect.add_argument("bundle", type=Path, metavar="BUNDLE")
    convert.add_arguments(commands.add_parser("convert", help="the papers' data as a data directory"))
    comparison.add_arguments(commands.add_parser("compare", parents=[shared], help="every model on the same data"))
    simulated.add_arguments(
        commands.add_parser("simulate-experiment", help="the simulated shop as traffic of a running service")
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
