"""Ridge regression whose penalty the data chooses: from features to vectors that were learned without them."""

import torch
from torch import Tensor

PENALTIES = tuple(10.0**power for power in range(-6, 3))


def ridge(features: Tensor, targets: Tensor) -> Tensor:
    """
    E minimising ‖FE − T‖² + κ‖E‖² for the κ that predicts left-out rows best.

    κ, in units of the features' mean squared singular value, is one of 1e-6 … 100, by generalised cross-validation
    (Golub, Heath and Wahba 1979): ‖T − FE‖² / (1 − tr H / I)², H the matrix that makes FE of T.

    Args:
        features: F [I, W], centred; targets: T [I, d], centred.
    Returns: E [W, d], float32, on their device.
    """
    F, T = features.double(), targets.double()
    squares, axes = torch.linalg.eigh(F.T @ F)
    squares = squares.clamp_min(0.0)
    along = axes.T @ (F.T @ T)  # [W, d]
    unit = squares.sum() / min(F.shape)
    if unit == 0:  # features that tell nothing
        return torch.zeros_like(along).float()
    total = T.square().sum()

    def left_out_error(penalty: float) -> float:
        shrunk = 1 / (squares + penalty * unit)
        error = total - (along.square() * (2 * shrunk - squares * shrunk.square())[:, None]).sum()
        freedom = 1 - (squares * shrunk).sum() / len(F)
        return float(error / freedom.square())

    best = min(PENALTIES, key=left_out_error)
    E: Tensor = axes @ (along / (squares + best * unit)[:, None])
    return E.float()
