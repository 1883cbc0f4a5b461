"""One bar over a whole comparison, and the time it still takes: an estimate that is corrected as the work goes on."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tqdm import tqdm

from training.compare.config import CompareConfig
from training.compare.grid import Cell
from training.compare.pace import Pace
from training.compare.search import Quest
from training.compare.work import News

FORMAT = "{desc}{n_fmt}/{total_fmt} {bar} {elapsed}{postfix}"


class Overview:
    """
    Trials and cells done and to do.

    Args:
        paces: of every model that has work to do.
        jobs: workers at a time.
    """

    def __init__(self, config: CompareConfig, paces: dict[str, Pace], jobs: int, *, quiet: bool) -> None:
        self._paces, self._jobs = paces, jobs
        self._allowed = config.search.minutes * 60.0
        self._planned: dict[str, int] = {}
        self._trials: Counter[str] = Counter()
        self._cells: Counter[str] = Counter()
        self._spent: dict[str, float] = {}
        self._seen: dict[str, list[float]] = {}
        self._bar = tqdm(desc="compare", total=0, disable=quiet, bar_format=FORMAT)

    def expect(self, quests: Sequence[Quest], cells: Counter[str]) -> None:
        """What is still to be done: searches, and how many cells of each model."""
        self._planned = {quest.entry.label: quest.trials for quest in quests}
        self._trials, self._cells = Counter(self._planned), Counter(cells)
        self._bar.total = self._bar.n + self._trials.total() + self._cells.total()
        self._show()

    def hear(self, news: News) -> None:
        """Takes in what a worker said."""
        label = news.label
        if news.kind == "begun":
            self._bar.set_description(f"{label}, {'search' if news.seed is None else f'seed {news.seed}'}", False)
            if news.seed is None:  # a search tells its trials from the first one on, those of earlier runs too
                self._bar.update(self._trials[label] - self._planned[label])
                self._trials[label], self._spent[label] = self._planned[label], 0.0
        elif news.kind == "trial":
            self._trials[label] -= 1
            self._spent[label] += news.seconds
            self._seen.setdefault(label, []).append(news.seconds)
            self._bar.update()
        elif news.seed is None:
            self._bar.update(self._trials.pop(label))  # those that the time did not allow
        else:
            self._cells[label] -= 1
            self._seen.setdefault(label, []).append(max(news.seconds - self._paces[label].judge, 0.0))
            self._bar.update()
        self._show()

    @property
    def left(self) -> float:
        """Seconds of wall-clock still to come if no training stops before its last epoch."""
        searches = (
            min(trials * self._training(label), max(self._allowed - self._spent.get(label, 0.0), 0.0))
            for label, trials in self._trials.items()
        )
        cells = (count * (self._training(label) + self._paces[label].judge) for label, count in self._cells.items())
        return (sum(searches) + sum(cells)) / self._jobs

    def _training(self, label: str) -> float:
        seen = self._seen.get(label)
        return sum(seen) / len(seen) if seen else self._paces[label].training

    def _show(self) -> None:
        self._bar.set_postfix_str(f"about {in_words(self.left)} left", refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def cells_to_do(cells: Sequence[Cell]) -> Counter[str]:
    """How many of `cells` are not there yet, by label."""
    return Counter(cell.entry.label for cell in cells if cell.state != "there")


def in_words(seconds: float) -> str:
    """40 s, 12 min, 3 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
