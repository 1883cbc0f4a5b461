"""Which λ2 becomes a bundle's default, and on what basis."""

from causalrec.manifest import Lambda2Range
from training.evaluate import Evaluation

WANTED = (("purchases", "purchases"), ("liked", "ratings"))  # what people wanted, the best evidence first
CLICK_TOLERANCE = 0.01


def choose_lambda2(valid: Evaluation, k: int, undebiasable: str | None = None) -> Lambda2Range:
    """
    The λ2 with the best validation NDCG@k on purchases, else on ratings; the smallest of equals.

    Clicks must not choose it, for λ2 trades clicks for what people want. Where there is nothing but clicks: the
    largest λ2 whose click NDCG@k is within 1 % of the best, and the basis says so.

    Args:
        undebiasable: why λ2 means nothing to the model (`ModelConfig.undebiasable`): then there is only 0 to choose,
            and the basis is this reason.
    """
    if undebiasable is not None:
        return Lambda2Range(default=0.0, minimum=0.0, maximum=0.0, basis=undebiasable)
    tried = sorted(ranking for ranking in valid.values if isinstance(ranking, float))
    for name, words in WANTED:
        metric = f"{name}:NDCG@{k}"
        if metric in valid.values[tried[0]]:
            best = max(tried, key=lambda value: valid.mean(value, metric))  # max keeps the first of equals
            return Lambda2Range(default=best, basis=words)
    clicks = {value: valid.mean(value, f"NDCG@{k}") for value in tried}
    good = [value for value in tried if clicks[value] >= (1 - CLICK_TOLERANCE) * max(clicks.values())]
    return Lambda2Range(default=good[-1], basis="clicks, 1 % rule")
