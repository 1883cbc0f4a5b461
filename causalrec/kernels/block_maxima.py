"""
The best eligible score in every block of items, for every query and λ2, in one pass over items in half precision.

Two implementations of one signature, `(Blocks, Questions) -> Tensor [P, B]`: plain torch for any device, and a Triton
kernel for CUDA (TRITON_INTERPRET=1 runs it on a CPU).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from causalrec import equations
from causalrec.equations import APART, Form, Terms

try:
    from causalrec.kernels import streaming
except ImportError:  # triton comes with CUDA builds of torch
    streaming = None  # type: ignore[assignment]

INSTALLED = streaming is not None
TILE = 2**20  # scores that the torch implementation holds at a time
TOGETHER = 8  # queries of one program; later ones find the items in the first-level cache
FORMS: dict[Form, int] = {"paper": 0, "authors": 1, "additive": 2, "sum": 3}


class Blocks(NamedTuple):
    """
    Items in blocks of S, zeros behind the last: what a pass reads.

    values [B, d, parts, S]: of forms in APART [γ; e], and e_match where it is not e; of others [γ∘(1+e_match); e].
    biases [B, 2, S] float32, β and v, where there are any. items: how many there are.
    """

    form: Form
    values: Tensor
    biases: Tensor | None
    items: int

    @property
    def size(self) -> int:
        """Items in a block."""
        return self.values.shape[3]


class Questions(NamedTuple):
    """
    A batch as the pass reads it: Q users, P probes (a user's λ2 one after the other), X excluded items.

    gamma, theta [Q, d], null [Q], lambda2 [P] float32. probes [Q + 1]: those of user q are probes[q] … probes[q + 1].
    owner [P]: the probe's user. excluded [X]: q·B·S + row for each item that user q must not get, rising.
    starts [Q·B + 1]: those of user q in block b are excluded[starts[q·B + b] : starts[q·B + b + 1]].
    """

    gamma: Tensor
    theta: Tensor
    null: Tensor
    lambda2: Tensor
    probes: Tensor
    owner: Tensor
    excluded: Tensor
    starts: Tensor


def pair_scores(blocks: Blocks, asked: Questions, probe: Tensor, block: Tensor) -> Tensor:
    """Float32 scores [n, S] of the items of `block` [n] for the probes `probe` [n]."""
    owner = asked.owner[probe]
    match, e, *own = blocks.values[block].float().unbind(2)
    gamma, theta = asked.gamma[owner, :, None], asked.theta[owner, :, None]
    a, n = (gamma * match).sum(1), (theta * e).sum(1)
    b = (gamma * (match * (own[0] if own else e))).sum(1) if blocks.form in APART else torch.zeros_like(a)
    if blocks.biases is not None:
        a, n = a + blocks.biases[block, 0], n + blocks.biases[block, 1]
    return equations.score(blocks.form, Terms(a, b, n), asked.null[owner, None], asked.lambda2[probe, None])


def torch_maxima(blocks: Blocks, asked: Questions) -> Tensor:
    """Float32 [P, B], −∞ where no item is eligible. In float64, which no setting of matrix products can coarsen."""
    step = max(TILE // (blocks.size * max(len(asked.lambda2), 1)), 1)
    tiles = [_tile_maxima(blocks, asked, start, step) for start in range(0, len(blocks.values), step)]
    return torch.cat(tiles, 1).float()


def _tile_maxima(blocks: Blocks, asked: Questions, start: int, step: int) -> Tensor:
    """The maxima [P, b] of b blocks from `start` on."""
    match, e, *own = blocks.values[start : start + step].double().unbind(2)
    gamma, theta = asked.gamma.double(), asked.theta.double()
    a, n = gamma @ match, theta @ e  # [b, Q, S]
    b = gamma @ (match * (own[0] if own else e)) if blocks.form in APART else torch.zeros_like(a)
    if blocks.biases is not None:
        biases = blocks.biases[start : start + step].double()
        a, n = a + biases[:, :1], n + biases[:, 1:]
    terms = Terms(*(part.transpose(0, 1)[asked.owner] for part in (a, b, n)))  # [P, b, S]
    scores = equations.score(
        blocks.form, terms, asked.null.double()[asked.owner, None, None], asked.lambda2.double()[:, None, None]
    )
    return scores.masked_fill(~_eligible(blocks, asked, start, len(match))[asked.owner], -torch.inf).amax(2)


def _eligible(blocks: Blocks, asked: Questions, start: int, count: int) -> Tensor:
    """Whether each item of `count` blocks from `start` on may be returned to each user, [Q, b, S]."""
    users, size, total = len(asked.null), blocks.size, len(blocks.values) * blocks.size
    rows = torch.arange(start * size, (start + count) * size, device=blocks.values.device)
    allowed = (rows < blocks.items).repeat(users, 1)
    user, row = asked.excluded // total, asked.excluded % total
    here = (row >= start * size) & (row < (start + count) * size)
    allowed[user[here], row[here] - start * size] = False
    return allowed.view(users, count, size)


def triton_maxima(blocks: Blocks, asked: Questions) -> Tensor:
    """Float32 [P, B], −∞ where no item is eligible. One program per block and 8 queries; neighbours share its items."""
    count, dim, parts, size = blocks.values.shape
    users = len(asked.null)
    best = torch.empty((len(asked.lambda2), count), device=blocks.values.device)
    biases = blocks.values if blocks.biases is None else blocks.biases
    groups = -(-users // TOGETHER)
    streaming.block_maxima[(groups * count,)](
        blocks.values, biases, *asked[:5], *asked[6:], best, blocks.items, count, users, groups,
        DIM=dim, PARTS=parts, SIZE=size, FORM=FORMS[blocks.form], BIASED=blocks.biases is not None, USERS=TOGETHER,
        num_warps=4 if size >= 256 else 1, enable_fp_fusion=True,
    )  # fmt: skip
    return best
