"""Tables for people: Markdown that is readable in a terminal too."""

from collections.abc import Iterable, Sequence

from causalrec.manifest import Interval, Manifest, Retrieval, SweepRow
from causalrec.model import ModelConfig


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with padded columns."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def with_interval(value: Interval) -> str:
    """0.2187 [.2100, .2270]."""
    return f"{value.mean:.4f} [{_short(value.low)}, {_short(value.high)}]"


def sweep_table(sweep: Sequence[SweepRow], part: str, overlap: dict[str, float]) -> str:
    """
    The sweep on `part` ("valid" or "test"): one row per ranking, 95 % intervals, overlap with λ2 = 0.

    All metrics of the held-out interactions, and the NDCG of what people wanted, where the data has it.
    """
    metrics = sorted((m for m in getattr(sweep[0], part) if ":" not in m or "NDCG" in m), key=lambda m: (":" in m, m))
    rows = []
    for row in sweep:
        values: dict[str, Interval] = getattr(row, part)
        name = row.ranking if row.lambda2 is None else f"λ2 = {row.lambda2:g}"
        shared = overlap.get(str(row.lambda2))
        rows.append([name, *(with_interval(values[m]) for m in metrics), "" if shared is None else f"{shared:.3f}"])
    return markdown_table(["ranking", *metrics, "overlap"], rows)


def describe(manifest: Manifest) -> str:
    """A bundle in words and tables: what `inspect` prints."""
    dial, lambda2 = manifest.diagnostics, manifest.lambda2
    statistics = ", ".join(f"{name} {value:,.10g}" for name, value in manifest.statistics.items())
    lines = [
        f"bundle      {manifest.name} {manifest.content_id[:12]} (schema {manifest.schema_version})",
        f"code        {manifest.code_version}",
        f"model       {_model(manifest.model)}",
        f"catalogue   {manifest.users:,} users, {manifest.items:,} items; pictures by {manifest.backbone}",
        f"data        {statistics} (fingerprint {manifest.data_fingerprint[:12]})",
        f"lambda2     {_dial(manifest)}",
        f"retrieval   {_described(manifest.retrieval)}",
        f"recall@50   {_per_lambda2(manifest.retrieval.recall)}",
        f"proved      {_per_lambda2(manifest.retrieval.exact_share)} (share of lists, full scan off)",
    ]
    if manifest.model.undebiasable is None:
        lines.append(f"notice n    {_notice(manifest)}")
    if dial.null is not None:
        symbol = "c_u" if manifest.form == "paper" else "m*"
        lines.append(f"{symbol:<11} mean {dial.null.mean:.3f}, sd {dial.null.sd:.3f}, median {dial.null.q50:.3f}")
    if lambda2.basis.startswith("clicks"):
        lines.append(
            "WARNING     the data holds only clicks: the default λ2 is a guess that costs at most 1 % of clicks"
        )
    lines += [f"WARNING     {warning}" for warning in dial.warnings()]
    for part in ("valid", "test"):
        lines += ["", f"{part}:", sweep_table(manifest.sweep, part, dial.overlap)]
    return "\n".join(lines)


def _model(model: ModelConfig) -> str:
    """causalrec, paper form, d=32, null match=mean, null picture=product_mean."""
    words = f"{model.name}, {model.form} form, d={model.dim}"
    if model.form not in ("paper", "authors"):
        return words
    return f"{words}, null match={model.null_match}, null picture={model.null_visual}"


def _dial(manifest: Manifest) -> str:
    lambda2 = manifest.lambda2
    if manifest.model.undebiasable is not None:
        return f"0 only: {lambda2.basis}"
    allowed = f"allowed {lambda2.minimum:g} to {lambda2.maximum:g}"
    return f"default {lambda2.default:g} (chosen on {lambda2.basis}), {allowed}"


def _notice(manifest: Manifest) -> str:
    dial = manifest.diagnostics
    words = f"mean {dial.notice.mean:.2f}, within users sd {dial.notice_sd_within_user:.2f}"
    return words if manifest.form == "additive" else f"{words}, saturated {dial.notice_saturated:.1%}"


def _described(retrieval: Retrieval) -> str:
    """ivf, 96 wide, nlist 894, nprobe 112."""
    parts = [retrieval.index, f"{retrieval.width} wide"]
    return ", ".join(parts + [f"{name} {value}" for name, value in retrieval.parameters.items()])


def _per_lambda2(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.3f} at λ2={lambda2}" for lambda2, share in shares.items())


def _short(value: float) -> str:
    return f"{value:.4f}".replace("0.", ".", 1)
