"""The models a comparison has where its file names none, and what the search may set for each."""

from typing import Any

NO_BRANCHES = {"match_weight": 0.0, "notice_weight": 0.0}


def _begun(learning_rate: float, l2: float, l2_visual: float | None = None, **own: float) -> dict[str, float]:
    """Where a model's search begins: what did well on MovieLens latest-small in a few trials (docs/LOG.md)."""
    return {"learning_rate": learning_rate, "l2": l2} | ({} if l2_visual is None else {"l2_visual": l2_visual}) | own


LINEUP: tuple[dict[str, Any], ...] = (
    {"label": "BPR", "model": {"name": "bpr"}, "fit": _begun(0.01, 0.02)},
    {"label": "VBPR", "model": {"name": "vbpr"}, "fit": _begun(0.005, 0.015, 0.001)},
    {"label": "DeepStyle", "model": {"name": "deepstyle"}, "fit": _begun(0.01, 0.015, 0.003)},
    {"label": "AMR", "model": {"name": "amr"}, "fit": _begun(0.01, 0.02, 0.003)},
    {"label": "DVBPR", "model": {"name": "dvbpr"}, "fit": _begun(0.01, 0.001, patience=5)},
    {
        "label": "CausalRec A",
        "model": {"form": "sum"},
        "fit": _begun(0.01, 0.002, 0.00001) | NO_BRANCHES,
        "group": {"fusion": "addition", "multitask": False},
    },
    {
        "label": "CausalRec M",
        "model": {"form": "paper"},
        "fit": _begun(0.01, 0.0002, 0.00001) | NO_BRANCHES,
        "group": {"fusion": "multiplication", "multitask": False},
    },
    {
        "label": "CausalRec AML",
        "model": {"form": "sum"},
        "fit": _begun(0.01, 0.01, 0.0),
        "group": {"fusion": "addition", "multitask": True},
    },
    {
        "label": "CausalRec MML",
        "model": {"form": "paper"},
        "fit": _begun(0.01, 0.01, 0.0),
        "group": {"fusion": "multiplication", "multitask": True},
    },
    {"label": "CausalRec additive", "model": {"form": "additive"}, "fit": _begun(0.005, 0.015, 0.0003)},
    {"label": "CausalRec authors", "model": {"form": "authors"}, "fit": _begun(0.01, 0.008, 0.0003)},
)
"""CausalRec A, M, AML, MML: fusion by addition or multiplication, without or with the branches' own losses (Fig. 6)."""

LEARNING_RATE = {"low": 0.0003, "high": 0.03, "log": True}
L2 = {"low": 0.0001, "high": 0.1, "log": True}
L2_VISUAL = (0.0, 0.00001, 0.0001, 0.0003, 0.001, 0.003)
"""Not beyond: from .03 on the matrices are silenced where clicks are better told without pictures, and λ2 with them. A
search for accuracy at λ2 = 0 does not see that."""
WEIGHT = {"low": 0.03, "high": 3.0, "log": True}
WEIGHTS = {
    "amr": ("adversarial_weight", "adversarial_epsilon"),
    "causalrec": ("match_weight", "notice_weight"),
}
LEARNT_PICTURES = ("vbpr", "deepstyle", "amr", "causalrec")  # by a matrix over given features


def default_space(name: str, fit: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """
    The space of the model `name`: learning rate, l2, that of the visual matrices, and the weights of its losses.

    Args:
        fit: the model's own settings: a weight that is 0 there stays 0.
    """
    space: dict[str, dict[str, Any]] = {"fit.learning_rate": LEARNING_RATE, "fit.l2": L2}
    if name in LEARNT_PICTURES:
        begun = fit.get("l2_visual", 0.0)
        space["fit.l2_visual"] = {"choices": sorted({*L2_VISUAL, begun})}
    return space | {f"fit.{weight}": WEIGHT for weight in WEIGHTS.get(name, ()) if fit.get(weight) != 0.0}
