"""AMR: trained against an adversary who changes pictures a little (Tang et al. 2019)."""

import torch
from torch import Tensor

from training.config import FitConfig
from training.models.model import Triples
from training.models.shared_user import SharedUser


class AMR(SharedUser):
    """
    y = γᵤ·γᵢ + (1 − λ2)·γᵤ·eᵢ, eᵢ = Eᵀfᵢ; trained at λ2 = 0 by BPR on the pictures as they are and under attack.

    The adversary adds Δᵢ to the feature fᵢ, of length ε in the direction in which the batch's BPR loss grows fastest
    (the paper's normalised step, Δᵢ = ε·gᵢ/|gᵢ|, gᵢ = ∂BPR/∂fᵢ). There is one Δᵢ for each picture of the batch,
    however many of its triples the item is in: the paper attacks the picture, not the triple. Training does not see how
    Δ came about: it counts as fixed. Pictures that no triple moves are not attacked.

    The paper starts from a trained model; here both losses are there from the first step, so that all models are
    trained alike.
    """

    def loss(self, batch: Triples, config: FitConfig) -> Tensor:
        """BPR + adversarial_weight · BPR under attack, and the L2 terms."""
        rows, places = batch.among(len(self.features))
        gamma = self.gammas(rows)
        (seen,) = self.project(self.E, rows=rows, precision=config.precision)
        plain = self.ranking_loss(places, gamma + self.embedded(seen))
        total = plain + self.penalty(batch, config)
        if config.adversarial_weight == 0.0:
            return total
        (upward,) = torch.autograd.grad(plain, seen, retain_graph=True)
        step = self.attack(upward, config.adversarial_epsilon)
        shift = step @ (self.E.T @ self.E.detach()).T  # EᵀΔᵢ, which E is trained through: Δᵢ is fixed, E is not
        attacked = self.ranking_loss(places, gamma + self.embedded(seen + shift))
        return total + config.adversarial_weight * attacked

    @torch.no_grad()
    def attack(self, upward: Tensor, epsilon: float) -> Tensor:
        """
        Every picture's attack as its coordinates [n, d] in the columns of E: Δᵢ = E·stepᵢ, of length ε.

        As gᵢ = E·∂BPR/∂(Eᵀfᵢ), the attack lies in the span of E, and its length follows from the d × d matrix EᵀE:
        nothing of the size of the features is made.

        Args:
            upward: [n, d], the gradient of the loss in Eᵀfᵢ; rows of zeros stay zeros.
        """
        length = ((upward @ (self.E.T @ self.E)) * upward).sum(1, keepdim=True).clamp_min(0).sqrt()
        return torch.where(length > 0, epsilon * upward / length, 0.0)
