"""The exact scan on an accelerator: one pass in half precision leaves the few items that can be a user's best."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.equations import APART, Form, ItemArrays
from causalrec.errors import DeviceOutOfMemory, InstallationError
from causalrec.kernels import block_maxima
from causalrec.kernels.block_maxima import Blocks, Questions, pair_scores, torch_maxima, triton_maxima
from causalrec.topk import Query, Rows

Kernel = Literal["auto", "triton", "torch"]

UNIT = 2.0**-24  # rounding of one float32 operation
AT_A_TIME = 65_536  # items laid out, or scored a second time, at a time
FEW = 65_536  # items from which on 256 make a block, so that there are many times k blocks


class Lengths(NamedTuple):
    """The largest norm among the items' vectors: of γ (or γ∘(1+e_match)), of γ∘e_match (forms in APART), of e."""

    match: float
    product: float
    e: float


class DeviceScan:
    """
    Every item of a model in float16 on one device: 4d bytes each, 6d where a form in APART has an e_match of its own;
    twice that, in float32, where a component is beyond float16.

    A pass gives the best eligible score in each block of items. The k-th best of those is reached by k items, so that
    the top k have at least that, less twice the error. Blocks that reach it are scored item by item, and the items
    that do are the answer, for float64 to rank.

    Args:
        device: as torch names it.
        kernel: "triton", "torch", or "auto": Triton on CUDA where it is installed.
        size: items in a block, a power of 2; by default 256, or 32 in a small catalogue.
    Raises: InstallationError without the kernel asked for; DeviceOutOfMemory, here and in `survivors`.
    """

    def __init__(
        self, form: Form, items: ItemArrays, device: str, kernel: Kernel = "auto", size: int | None = None
    ) -> None:
        if kernel == "triton" and not block_maxima.INSTALLED:
            raise InstallationError("triton is not installed; install a CUDA build of torch, or ask for torch")
        self.device = torch.device(device)
        possible = block_maxima.INSTALLED and self.device.type == "cuda"
        self.kernel = "triton" if kernel == "triton" or (kernel == "auto" and possible) else "torch"
        size = size or (256 if len(items.gamma) >= FEW else 32)
        with _translated(self.device):
            self._blocks, self._norm, self._off = _laid_out(form, items, self.device, size, torch.float16)
            if not all(map(math.isfinite, self._off)):
                self._blocks, self._norm, self._off = _laid_out(form, items, self.device, size, torch.float32)
        self._bias = sum(float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None)

    @property
    def bytes(self) -> int:
        """Memory the items take on the device. A batch takes 4 more per block and probe, and some 100 MB to score."""
        biases = self._blocks.biases
        return self._blocks.values.nbytes + (0 if biases is None else biases.nbytes)

    def survivors(self, queries: Sequence[Query], floors: NDArray[np.float64] | None = None) -> list[list[Rows]]:
        """
        For every query and each of its λ2, rising rows: a superset of its k best, never an excluded row.

        Args:
            floors: [P], one per λ2 of each query: then instead every item whose score can reach its floor.
        """
        if not queries:
            return []
        with _translated(self.device):
            asked = self._ask(queries)
            best = (triton_maxima if self.kernel == "triton" else torch_maxima)(self._blocks, asked)
            error = torch.from_numpy(self.error(queries)).to(self.device)
            if floors is None:
                least = self._kth(queries, best) - 2 * error
            else:
                least = torch.from_numpy(floors).to(self.device) - error
            rows = iter(self._reaching(asked, best, least))
        return [[next(rows) for _ in query.lambda2] for query in queries]

    def error(self, queries: Sequence[Query]) -> NDArray[np.float64]:
        """
        The most [P] by which a score on the device may differ from the float64 one.

        Storage: a logit is off by at most the user's norm times the largest error of an item's vector, measured when
        it was stored. Per unit of a match logit a score moves by ¼ (paper, sum), 8/27 (authors) or 1 at most, per unit
        of notice by max(1, s) times that, s being what λ2 takes off the match, or by |1 − λ2| times that where the
        notice is a summand. Arithmetic: sums of d + 1
        rounded products and some units more for exponentials and null, as in `FusedScan.error`.
        """
        return np.array([self._error(query, lambda2) for query in queries for lambda2 in query.lambda2])

    def _error(self, query: Query, lambda2: float) -> float:
        form, dim, off, norm = self._blocks.form, self._blocks.values.shape[1], self._off, self._norm
        gamma, theta = float(query.user.gamma.double().norm()), float(query.user.theta.double().norm())
        null = abs(float(query.user.null))
        match = {"paper": 1 / 4, "authors": 8 / 27, "additive": 1.0, "sum": 1 / 4}[form]
        most = lambda2 * null if form == "paper" else lambda2
        notice = match * (abs(1 - lambda2) if form in ("additive", "sum") else max(1.0, most))
        stored = match * gamma * (off.match + off.product) + notice * theta * off.e
        reach = gamma * (norm.match + norm.product) + theta * norm.e + self._bias
        return stored + (1 + lambda2) * UNIT * (2 * (dim + 3) * reach + 48 * (1 + reach + null))

    def _ask(self, queries: Sequence[Query]) -> Questions:
        blocks, size = len(self._blocks.values), self._blocks.size
        probes = torch.tensor([0, *(len(query.lambda2) for query in queries)]).cumsum(0)
        excluded = [np.sort(query.excluded) + user * blocks * size for user, query in enumerate(queries)]
        keys = torch.from_numpy(np.concatenate(excluded)).to(self.device)
        gamma, theta, null = (
            torch.stack([getattr(query.user, part).float() for query in queries]).to(self.device)
            for part in ("gamma", "theta", "null")
        )
        return Questions(
            gamma,
            theta,
            null,
            torch.tensor([value for query in queries for value in query.lambda2], device=self.device),
            probes.to(self.device),
            torch.repeat_interleave(torch.arange(len(queries)), probes.diff()).to(self.device),
            keys,
            torch.searchsorted(keys, torch.arange(len(queries) * blocks + 1, device=self.device) * size),
        )

    def _kth(self, queries: Sequence[Query], best: Tensor) -> Tensor:
        """The k-th largest [P] of each probe's maxima: −∞ where there are fewer, ∞ where nothing is to be found."""
        count = self._blocks.items
        wanted = torch.tensor([min(q.k, count - len(q.excluded)) for q in queries for _ in q.lambda2]).to(self.device)
        most = min(int(wanted.max()), best.shape[1])
        if most == 0:
            return torch.full(wanted.shape, torch.inf, dtype=torch.float64, device=self.device)
        largest = best.topk(most).values.double()
        kth = largest.gather(1, (wanted - 1).clamp(0, most - 1)[:, None])[:, 0]
        kth = kth.masked_fill(wanted > most, -torch.inf)
        return kth.masked_fill(wanted == 0, torch.inf)

    def _reaching(self, asked: Questions, best: Tensor, least: Tensor) -> list[Rows]:
        """Each probe's eligible rows whose score on the device is at least `least` [P] (float64)."""
        size, total = self._blocks.size, best.shape[1] * self._blocks.size
        floor = torch.nextafter(least.float(), least.new_tensor(-torch.inf).float())
        probes, blocks = ((best >= floor[:, None]) & (best > -torch.inf)).nonzero(as_tuple=True)
        owners, rows = [probes[:0]], [blocks[:0]]
        for start in range(0, len(probes), AT_A_TIME // size):
            probe, block = (part[start : start + AT_A_TIME // size] for part in (probes, blocks))
            scores = pair_scores(self._blocks, asked, probe, block)
            pair, lane = (scores >= floor[probe, None]).nonzero(as_tuple=True)
            row = block[pair] * size + lane
            key = asked.owner[probe[pair]] * total + row
            kept = (row < self._blocks.items) & ~torch.isin(key, asked.excluded)
            owners.append(probe[pair][kept])
            rows.append(row[kept])
        ends = torch.cat(owners).bincount(minlength=len(least)).cumsum(0).tolist()
        return np.split(torch.cat(rows).cpu().numpy(), ends[:-1])


def _laid_out(
    form: Form, items: ItemArrays, device: torch.device, size: int, dtype: torch.dtype
) -> tuple[Blocks, Lengths, Lengths]:
    """The items in blocks, the largest norms, and the largest norms of what storage in `dtype` is off by."""
    count, dim = items.gamma.shape
    blocks = max(-(-count // size), 1)
    parts = 3 if form in APART and items.e_match is not items.e else 2
    values = torch.zeros((blocks, dim, parts, size), dtype=dtype, device=device)
    longest = torch.zeros((2, 3), dtype=torch.float64, device=device)
    for start in range(0, count, AT_A_TIME):
        rows = slice(start, start + AT_A_TIME)
        gamma, e, e_match = (part[rows].to(device).double() for part in (items.gamma, items.e, items.e_match))
        exact = (gamma if form in APART else gamma * (1 + e_match), e, e_match)[:parts]
        stored = [part.to(dtype) for part in exact]
        for part, vectors in enumerate(stored):
            _lay(values[:, :, part], start, vectors)
        off = [vectors.double() - part for vectors, part in zip(stored, exact, strict=True)]
        product = gamma * e_match if form in APART else torch.zeros_like(gamma)
        of_product = stored[0].double() * stored[-1].double() - product if form in APART else product
        norms = [
            torch.stack([vectors.norm(dim=1).max() for vectors in three])
            for three in ((exact[0], product, e), (off[0], of_product, off[1]))
        ]
        longest = torch.maximum(longest, torch.stack(norms))
    norm, worst = ((1 + 1e-9) * longest).tolist()
    return Blocks(form, values, _biases(items, blocks, size, device), count), Lengths(*norm), Lengths(*worst)


def _biases(items: ItemArrays, blocks: int, size: int, device: torch.device) -> Tensor | None:
    if items.beta is None and items.visual_bias is None:
        return None
    biases = torch.zeros((blocks, 2, size), device=device)
    for part, bias in enumerate((items.beta, items.visual_bias)):
        if bias is not None:
            _lay(biases[:, None, part], 0, bias[:, None].to(device))
    return biases


def _lay(blocks: Tensor, start: int, vectors: Tensor) -> None:
    """Writes vectors [C, d] into blocks [B, d, S] from item `start` on, which begins a block."""
    size = blocks.shape[2]
    whole, rest = divmod(len(vectors), size)
    first = start // size
    blocks[first : first + whole] = vectors[: whole * size].reshape(whole, size, vectors.shape[1]).transpose(1, 2)
    if rest:
        blocks[first + whole, :, :rest] = vectors[-rest:].T


@contextmanager
def _translated(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(
            f"{device} has too little memory free; send smaller batches, or serve this model elsewhere: {error}"
        ) from error
