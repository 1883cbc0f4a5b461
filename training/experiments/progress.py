"""Visits under way: several at a time, what they brought, how far one is."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from tqdm import tqdm

from training.experiments.traffic import OUTSIDE, Crowd, Service, Totals


class Progress:
    """Sends visits and keeps what they brought; a bar shows visits per second and how many each variant had."""

    def __init__(self, crowd: Crowd, service: Service, *, threads: int, at_once: int) -> None:
        self._crowd, self._service = crowd, service
        self._threads, self._at_once = threads, at_once
        self.totals = Totals()
        self.done = 0
        """The first number that is not known to be done: where another run with the same seed goes on."""

    def send(self, numbers: range, what: str, check: Callable[[Totals], None] = lambda _: None) -> None:
        """The visits of these numbers; `check` may raise as they come in. Ctrl-C: those begun are ended, uncounted."""
        blocks = (numbers[start : start + self._at_once] for start in range(0, len(numbers), self._at_once))
        self.done = max(self.done, numbers.start)
        finished: set[int] = set()
        with (
            tqdm(total=len(numbers), desc=what, unit="visits", disable=None) as bar,
            ThreadPoolExecutor(self._threads) as pool,
        ):
            try:
                for block, totals in self._flow(pool, blocks):
                    self.totals += totals
                    finished.add(block.start)
                    while self.done in finished:
                        self.done = min(self.done + self._at_once, numbers.stop)
                    bar.update(len(block))
                    bar.set_postfix_str(by_variant(self.totals), refresh=False)
                    check(self.totals)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _flow(self, pool: ThreadPoolExecutor, blocks: Iterator[range]) -> Iterator[tuple[range, Totals]]:
        """Results as they come, twice as many blocks under way as there are threads."""
        under_way: dict[Future[Totals], range] = {}

        def more(count: int) -> None:
            under_way.update(
                (pool.submit(self._crowd.visit, self._service, block), block) for block in islice(blocks, count)
            )

        more(2 * self._threads)
        while under_way:
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                yield under_way.pop(future), future.result()
            more(len(ended))


def by_variant(totals: Totals) -> str:
    """lambda2-0: 120, lambda2-0.4: 118; the visits of each."""
    counts = {name: int(sums.visits) for name, sums in sorted(totals.sums.items()) if name != OUTSIDE}
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
