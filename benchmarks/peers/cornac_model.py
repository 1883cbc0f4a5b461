"""
Writes a model of cornac's own CausalRec class for cornac's own server. Runs in cornac's environment, not in ours:

    python cornac_model.py FOLDER stock|fixed USERS ITEMS D

Untrained: random arrays of the shapes and names that training leaves, since the time to rank does not depend on values.
"""

import sys
from typing import Any

import numpy as np
from cornac.data import Dataset, ImageModality  # type: ignore[import-not-found]
from cornac.models import CausalRec  # type: ignore[import-not-found]
from numpy.typing import NDArray

ADDED_TO = ("beta_item", "beta_item_mean", "visual_bias")


class FixedCausalRec(CausalRec):  # type: ignore[misc]
    """Hands copies of the three arrays that `score` adds to in place, so that an answer does not change the next."""

    def score(self, user_idx: int, item_idx: int | None = None) -> Any:
        """As the parent class scores; the model is left as it was."""
        kept = {name: getattr(self, name) for name in ADDED_TO}
        for name, array in kept.items():
            setattr(self, name, array.copy())
        try:
            return super().score(user_idx, item_idx)
        finally:
            self.__dict__.update(kept)


def make(cls: type[CausalRec], users: int, items: int, d: int, seed: int = 0) -> CausalRec:
    """An untrained model whose items are item-0000000 … and whose users user-00000 …"""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.4, shape).astype(np.float32)

    pairs = [(f"user-{row % users:05d}", f"item-{row:07d}", 1.0) for row in range(items)]
    data = Dataset.from_uir(pairs)
    features = normal(items, 8)
    data.add_modalities(item_image=ImageModality(features=features, ids=[item for _, item, _ in pairs]))
    data.item_image.build(id_map=data.iid_map)
    start = {"Bi": normal(items), "Gu": normal(users, d), "Gi": normal(items, d), "Tu": normal(users, d)}
    start |= {"E": normal(8, d), "Bp": normal(8, 1)}
    model = cls(k=d, k2=d, trainable=False, verbose=False, init_params=start, seed=seed).fit(data)
    model.ind_theta_item = normal(items, d)  # this and the next three only training sets
    model.beta_item_mean, model.gamma_item_mean, model.mean_feat = normal(1), normal(1, d), normal(1, d)
    return model


if __name__ == "__main__":
    import cornac_model  # type: ignore[import-not-found]  # under its own name, so that the server finds the class again

    folder, kind, *sizes = sys.argv[1:]
    chosen = cornac_model.FixedCausalRec if kind == "fixed" else CausalRec
    make(chosen, *map(int, sizes)).save(folder)
