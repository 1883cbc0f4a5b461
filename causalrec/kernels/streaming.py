"""The Triton kernel of `causalrec.kernels.block_maxima`; imported only where triton is installed."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check  # Triton's language: pointers, numbers and compile-time constants
def block_maxima(
    values, biases, gamma, theta, null, lambda2, probes, excluded, starts, best, count, blocks, users, groups,
    DIM: tl.constexpr, PARTS: tl.constexpr, SIZE: tl.constexpr, FORM: tl.constexpr, BIASED: tl.constexpr,
    USERS: tl.constexpr,
):  # fmt: skip
    """One item per lane: its logits are summed over d without any exchange, and only maxima leave the chip."""
    block = (tl.program_id(0) // groups).to(tl.int64)
    first_user = (tl.program_id(0) % groups) * USERS
    lane = tl.arange(0, SIZE)
    row = block * SIZE + lane
    items = values + block * DIM * PARTS * SIZE + lane
    for user in range(first_user, tl.minimum(first_user + USERS, users)):
        a = tl.zeros([SIZE], tl.float32)
        b = tl.zeros([SIZE], tl.float32)
        n = tl.zeros([SIZE], tl.float32)
        if BIASED:
            a += tl.load(biases + 2 * block * SIZE + lane)
            n += tl.load(biases + (2 * block + 1) * SIZE + lane)
        for d in tl.range(DIM, loop_unroll_factor=16):
            gamma_d = tl.load(gamma + user * DIM + d)
            match = tl.load(items + d * PARTS * SIZE).to(tl.float32)
            e = tl.load(items + (d * PARTS + 1) * SIZE).to(tl.float32)
            a += gamma_d * match
            n += tl.load(theta + user * DIM + d) * e
            if FORM == 0 or FORM == 3:  # noqa: PLR1714 - the language knows no `in`
                e_match = e
                if PARTS == 3:
                    e_match = tl.load(items + (d * PARTS + 2) * SIZE).to(tl.float32)
                b += gamma_d * (match * e_match)
        m_null = tl.load(null + user)
        if FORM == 0:
            notice = tl.sigmoid(n)
            kept = tl.sigmoid(a) * tl.sigmoid(b) * notice
            removed = m_null * notice
        elif FORM == 1:
            notice = tl.sigmoid(n)
            kept = tl.sigmoid(a + n) * tl.sigmoid(a) * notice
            removed = tl.sigmoid(m_null + n) * tl.sigmoid(m_null) * notice
        elif FORM == 3:
            removed = tl.sigmoid(n)
            kept = tl.sigmoid(a) + tl.sigmoid(b) + removed
        else:
            kept = a + n
            removed = n
        eligible = row < count
        here = user * blocks + block
        for at in range(tl.load(starts + here), tl.load(starts + here + 1)):
            eligible = eligible & (here * SIZE + lane != tl.load(excluded + at))
        for probe in range(tl.load(probes + user), tl.load(probes + user + 1)):
            scores = kept - tl.load(lambda2 + probe) * removed
            tl.store(best + probe * blocks + block, tl.max(tl.where(eligible, scores, float("-inf")), axis=0))
