"""`python -m service experiments`: what experiments say, from exported events, however many there are."""

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from tqdm import tqdm

from causalrec.errors import ConfigError
from causalrec.files import write_atomically
from service.command import ended
from service.experiment_source import book_of, from_file, from_service, in_folder, parquet_files
from service.experiments import page
from service.experiments.model import Experiment
from service.experiments.report import Look, Report
from service.experiments.tables import Cell, Table
from service.experiments.text import aligned, as_text, printable
from service.experiments.wording import counted, number, when
from service.exported import looked_back, moments, report_at
from service.redis_options import add_redis_options

T = TypeVar("T")

TICK: Final = 0.5  # seconds between two times that the progress is drawn
FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "text": as_text,
    "json": lambda report: report.model_dump_json(indent=2) + "\n",
    "html": page.render,
}
EPILOG = """\
The same analysis as GET /v1/experiments/{key}/report, without a limit on how long ago it was, and without the service:
the folder is read in a stream, in the memory that the experiment's units take. `python -m service events export`
writes it.

What the experiment is comes from the service (its Redis, or its data directory with the embedded one); or from a file
that holds what GET /v1/experiments/KEY answered: then folder and file can be analysed anywhere.
"""


def analysed(options: argparse.Namespace) -> Report:
    """The report that the command line asks for. Raises: CausalRecError, OSError."""
    folder: Path = options.events
    files = parquet_files(folder)
    in_force, kept = _experiment(options)
    experiment = _chosen(in_force, options)
    until = time.time() if options.until is None else options.until
    what = f"{counted(len(files), 'file')}, {sum(path.stat().st_size for path in files) / 1e6:.3g} MB"
    looks = [each for each in kept if each.at <= until and experiment.config.series == in_force.config.series]
    if options.looks:
        times = moments(folder, experiment, until, options.looks)
        shown = tqdm(times, desc=f"looking back over {what}", unit="look", disable=None)
        looks = looked_back(folder, experiment, shown)
    return _ticking(f"reading {what}", lambda: report_at(folder, experiment, until, looks))


def listed(options: argparse.Namespace) -> Table:
    """The experiments that a folder has answers of, or those that the service knows. Raises: CausalRecError."""
    if options.events is not None:
        found = (
            (key, str(series), ", ".join(map(str, versions)), number(units), *map(when, ends))
            for key, series, versions, units, *ends in in_folder(options.events).rows()
        )
        heads: tuple[str, ...] = ("Experiment", "Series", "Versions", "Units", "First", "Last")
        return Table(f"Experiments in {options.events}", heads, [tuple(map(Cell, row)) for row in found])
    heads = ("Experiment", "State", "Kind", "Version", "λ2", "Description")
    known = (
        (each.key, each.state, each.config.kind, str(each.config.version), _lambda2(each), _what(each))
        for _, each in sorted(book_of(options).experiments.items())
    )
    return Table("Experiments of the service", heads, [tuple(map(Cell, row)) for row in known], words=len(heads))


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m service experiments`."""
    command = argparse.ArgumentParser(prog="python -m service experiments", description=__doc__)
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analyse = commands.add_parser(
        "analyse",
        help="the report of one experiment: who bought more, which λ2 is best, and whether that may be believed",
        description="The report of one experiment from exported events.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = analyse.add_argument
    add("--events", type=Path, required=True, metavar="DIR", help="folder of exported events")
    add("--experiment", metavar="KEY", help="which one; not needed with --config")
    add("--config", type=Path, metavar="FILE", help="what GET /v1/experiments/KEY answered; else the service is asked")
    which = analyse.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="as if this version were in force")
    which.add_argument("--series", type=int, metavar="N", help="as if the last version of this series were")
    add("--until", type=moment, metavar="TIME", help="events up to then (2026-01-05, or with a time) [default now]")
    add(
        "--looks",
        type=_count,
        default=0,
        metavar="N",
        help="look back: the timeline, made anew at N times (N readings)",
    )
    add("--format", choices=list(FORMATS), default="text", help="[default text]")
    add("--out", type=Path, metavar="FILE", help="where to write it [default standard output]")
    add_redis_options(analyse)
    list_ = commands.add_parser(
        "list", help="which experiments there are", description="Which experiments a folder has, or the service knows."
    )
    list_.add_argument(
        "--events", type=Path, metavar="DIR", help="folder of exported events; else the service is asked"
    )
    add_redis_options(list_)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 done, 2 a clear error, 130 interrupted."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))

    def work() -> None:
        if options.command == "list":
            _write("".join(f"{printable(line)}\n" for line in aligned(listed(options))), None)
        else:
            _write(FORMATS[options.format](analysed(options)), options.out)

    return ended(work, place="standard output", interrupted="nothing was written")


def moment(text: str) -> float:
    """Seconds since 1970 of a time as people write it; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 2026-01-05 or 2026-01-05T14:00+01:00") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10000")
    return int(text)


def _experiment(options: argparse.Namespace) -> tuple[Experiment, list[Look]]:
    """It, and what the service keeps of looks at it."""
    if options.config is None:
        if options.experiment is None:
            raise ConfigError("which experiment? --experiment KEY takes it from the service, --config FILE from a file")
        return from_service(options, options.experiment)
    experiment = from_file(options.config)
    if options.experiment not in (None, experiment.key):
        raise ConfigError(f"{options.config}: is of experiment {experiment.key!r}, not {options.experiment!r}")
    return experiment, []


def _chosen(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """The experiment with the version in force that is asked for."""
    if options.version is None and options.series is None:
        return experiment
    field, wanted = ("version", options.version) if options.series is None else ("series", options.series)
    fitting = [config for config in experiment.versions if getattr(config, field) == wanted]
    if not fitting:
        there = ", ".join(map(str, dict.fromkeys(getattr(config, field) for config in experiment.versions)))
        raise ConfigError(f"--{field} {wanted}: there is none in experiment {experiment.key!r}, but: {there}")
    return experiment._replace(running=fitting[-1].version)


def _ticking(what: str, work: Callable[[], T]) -> T:
    """What `work` returns or raises; meanwhile a line says for how long it has run, where a terminal shows it."""
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 - raised below, where it is seen
            failed.append(error)

    thread = threading.Thread(target=run, name="analysis", daemon=True)  # an interrupt does not wait for it
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", disable=None) as progress:
        thread.start()
        while thread.is_alive():
            thread.join(TICK)
            progress.refresh()
    if failed:
        raise failed[0]
    return done[0]


def _write(text: str, path: Path | None) -> None:
    if path is not None:
        write_atomically(path, text.encode())
        return
    sys.stdout.buffer.write(text.encode())  # whatever the terminal's encoding is called
    sys.stdout.flush()


def _lambda2(experiment: Experiment) -> str:
    config = experiment.config
    if config.between is not None:
        return " to ".join(map(number, config.between))
    return ", ".join(number(variant.lambda2) for variant in config.variants)


def _what(experiment: Experiment) -> str:
    return experiment.config.description.partition("\n")[0]
