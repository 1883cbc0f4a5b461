"""
cornac's own models trained by cornac's own code, watched as they train. Runs in cornac's environment, not in ours.

cornac's `fit` calls nobody between epochs. The data set it draws its batches from can look at the model whenever it is
asked for the next one: at the arrays themselves, which torch changes in place. It can also end the training, by giving
no more batches, after which `fit` finishes as usual with the arrays as they then are.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from cornac.data import Dataset, ImageModality  # type: ignore[import-not-found]
from cornac.models import AMR, BPR, VBPR  # type: ignore[import-not-found]
from cornac_model import FixedCausalRec  # type: ignore[import-not-found]
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
Look = Callable[[Arrays, "Clock"], bool]  # returns whether to stop

# In the order in which each model hands its parameters to Adam.
PARAMETERS = {
    "VBPR": ("Bi", "Gu", "Gi", "Tu", "E", "Bp"),
    "AMR": ("Gu", "Gi", "E"),
    "CausalRec": ("Bi", "Gu", "Gi", "Tu", "E", "Bp", "E_ind"),
}


class Clock:
    """Seconds of training, wall-clock and of the processor; epochs and batches done."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.epochs = self.batches = 0
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Time counts from now."""
        self._since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Time does not count."""
        if self._since is not None:
            self.wall += time.perf_counter() - self._since[0]
            self.cpu += time.process_time() - self._since[1]
        self._since = None


class Watched(Dataset):  # type: ignore[misc]
    """A data set that looks at the model each time so many of its batches are through (0: after every epoch)."""

    look: Look
    arrays: Callable[[], Arrays]
    every = 0
    quick_negatives = False
    over = False

    def watch(self, look: Look, every: int = 0) -> None:
        """From now on `look` is called."""
        self.look, self.every, self.clock = look, every, Clock()

    def uij_iter(self, batch_size: int = 1, shuffle: bool = False, neg_sampling: str = "uniform") -> Iterator[Any]:
        """cornac's batches until the training is over."""
        if self.over:
            return
        draw = self._quickly if self.quick_negatives else super().uij_iter
        self.clock.start()
        for batch in draw(batch_size, shuffle, neg_sampling):
            yield batch
            self.clock.batches += 1
            if self.every and self.clock.batches % self.every == 0 and self._stop():
                return
        self.clock.epochs += 1
        if not self.every:
            self._stop()

    def after_epoch(self) -> None:
        """For models that draw their own batches."""
        self.clock.epochs += 1
        self._stop()
        self.clock.start()

    def _stop(self) -> bool:
        self.clock.stop()
        self.over = self.look(self.arrays(), self.clock)
        self.clock.start()
        return self.over

    def _quickly(self, batch_size: int, shuffle: bool, _: str) -> Iterator[Any]:
        """The same distribution as cornac's loop over samples in Python, drawn an epoch at a time."""
        users, items, _ratings = self.uir_tuple
        order = self.rng.permutation(len(users)) if shuffle else np.arange(len(users))
        keys = np.sort(users.astype(np.int64) * self.num_items + items)
        negative = self.rng.randint(0, self.num_items, len(users))
        taken = np.flatnonzero(_within(users[order] * np.int64(self.num_items) + negative, keys))
        while len(taken):
            negative[taken] = self.rng.randint(0, self.num_items, len(taken))
            taken = taken[_within(users[order][taken] * np.int64(self.num_items) + negative[taken], keys)]
        for start in range(0, len(order), batch_size):
            rows = slice(start, start + batch_size)
            yield users[order[rows]], items[order[rows]], negative[rows]


class WatchedBPR(BPR):  # type: ignore[misc]
    """cornac's BPR, whose epochs its data set hears of."""

    def _prepare_data(self, train_set: Watched) -> Any:
        self.watched = train_set
        train_set.arrays = lambda: {"Gu": self.u_factors, "Gi": self.i_factors, "Bi": self.i_biases}
        train_set.clock.start()
        return super()._prepare_data(train_set)

    def _fit_sgd(self, *arguments: Any) -> tuple[int, int]:
        if self.watched.over:
            return 0, 0
        found: tuple[int, int] = super()._fit_sgd(*arguments)
        self.watched.after_epoch()
        return found


CLASSES = {"BPR": WatchedBPR, "VBPR": VBPR, "AMR": AMR, "CausalRec": FixedCausalRec}


def data_set(user: NDArray[np.int64], item: NDArray[np.int64], features: NDArray[np.float32], seed: int) -> Watched:
    """Training pairs of rows, and the features [I, F] of all rows; cornac numbers users and items as they come."""
    pairs = zip(user.tolist(), item.tolist(), np.ones(len(user)).tolist(), strict=True)
    data: Watched = Watched.build(pairs, seed=seed)
    rows = np.fromiter(data.iid_map, np.int64)
    image = ImageModality(features=features[rows], ids=rows.tolist())
    image.build(id_map=data.iid_map)
    data.add_modalities(item_image=image)
    return data


def train(name: str, data: Watched, look: Look, *, every: int = 0, **settings: Any) -> Any:
    """The model `name` after cornac's `fit` with cornac's `settings`."""
    data.watch(look, every)
    model = CLASSES[name](verbose=False, **settings)
    with _recorded_adam() as recorded:
        data.arrays = lambda: {
            key: parameter.detach().numpy() for key, parameter in zip(PARAMETERS[name], recorded, strict=True)
        }
        return model.fit(data)


def watched_scores(name: str, found: Arrays, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Scores [U, I] of the arrays at λ2 = 0, to watch the training by: cornac's own numbering, D1-D6 without tanh.

    What is reported comes from cornac's `score`.
    """
    if name == "BPR":
        biased: NDArray[np.float32] = found["Gu"] @ found["Gi"].T + found["Bi"]
        return biased
    e = features @ found["E"]
    if name == "AMR":
        shared: NDArray[np.float32] = found["Gu"] @ (found["Gi"] + e).T
        return shared
    n = found["Tu"] @ e.T + (features @ found["Bp"])[:, 0]
    if name == "VBPR":
        added: NDArray[np.float32] = found["Gu"] @ found["Gi"].T + found["Bi"] + n
        return added
    m = found["Gu"] @ (found["Gi"] * (1 + features @ found["E_ind"])).T + found["Bi"]
    product: NDArray[np.float32] = _sigmoid(m + n) * _sigmoid(m) * _sigmoid(n)
    return product


def _within(keys: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    there: NDArray[np.bool_] = among[place] == keys
    return there


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return torch.from_numpy(x).sigmoid().numpy()


@contextlib.contextmanager
def _recorded_adam() -> Iterator[list[torch.Tensor]]:
    """The parameters that the next Adam is given: cornac keeps them in a local variable."""
    recorded: list[torch.Tensor] = []
    original = torch.optim.Adam

    class Recording(original):  # type: ignore[misc,valid-type]
        def __init__(self, params: Any, **settings: Any) -> None:
            recorded[:] = params
            super().__init__(recorded, **settings)

    torch.optim.Adam = Recording  # type: ignore[misc,assignment]
    try:
        yield recorded
    finally:
        torch.optim.Adam = original  # type: ignore[misc]
