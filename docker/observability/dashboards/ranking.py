"""What the answers are made of: λ2, sources, proofs, candidates, and whether lists are what they should be."""

from .panels import Dashboard, Panel
from .promql import increase, mean, quantile, rate, share

ANSWERS, PROOFS = "causalrec_answers_total", "causalrec_proofs_total"
SHADOWS, RECALL = "causalrec_shadow_answers_total", "causalrec_shadow_recall"

LISTS = (
    Panel(
        "λ2",
        "At which λ2 lists were ranked: requests' own, experiments', and the bundle's default.",
        ((increase("causalrec_lambda2_bucket", by="le"), "{{le}}"),),
        type="heatmap",
        width=12,
    ),
    Panel(
        "Mean λ2",
        "It moves when callers, an experiment or the bundle's default do.",
        ((mean("causalrec_lambda2"), "mean"), (quantile(0.9, "causalrec_lambda2"), "90 %")),
        width=12,
    ),
    Panel(
        "Lists by source",
        "personal: by what the bundle learned of the user; history: by what the request or the state said; cold_user: "
        "nothing is known.",
        ((rate(ANSWERS, by="source"), "{{source}}"),),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        "Cold answers",
        "Share of the lists for somebody of whom nothing is known.",
        ((share(rate(ANSWERS, 'source="cold_user"'), rate(ANSWERS)), "cold"),),
        unit="percentunit",
    ),
    Panel(
        "Empty lists",
        "Share of the lists without an item: filters, exclusions or hidden items leave nothing.",
        ((share(rate("causalrec_empty_results_total"), rate(ANSWERS)), "empty"),),
        unit="percentunit",
        steps=((0.01, "red"),),
        alerts=("CausalRecEmptyLists",),
    ),
)

PROVED = (
    Panel(
        "Why lists are exact",
        "certificate: the search proved that it missed nothing; scan: every item was scored; none: neither.",
        ((rate(PROOFS, by="proof"), "{{proof}}"),),
        unit="reqps",
        stacked=True,
    ),
    Panel(
        "Full scans",
        "Share of the lists for which every item was scored; more than usual costs time.",
        ((share(rate(PROOFS, 'proof="scan"'), rate(PROOFS)), "scan"),),
        unit="percentunit",
    ),
    Panel(
        "Candidates",
        "Items scored exactly for one list.",
        tuple((quantile(q, "causalrec_candidates"), f"{q:.0%}") for q in (0.5, 0.99)),
    ),
    Panel(
        "Recall of live answers",
        "Share of the exact list that served lists had, in the shadow sample (shadow_rate).",
        ((mean(RECALL), "recall"),),
        unit="percentunit",
        calm="red",
        steps=((0.99, "green"),),
        alerts=("CausalRecRecallLow",),
    ),
    Panel(
        "Shadow sample",
        "Answers found again by scoring every item. different, where all were proved, is a fault of the search; "
        "dropped: there was no idle time for it.",
        ((rate(SHADOWS, by="outcome"), "{{outcome}}"),),
        unit="reqps",
        alerts=("CausalRecCertificateContradicted",),
    ),
    Panel(
        "Compared at all",
        "Share of the sample that was compared; the rest was dropped under load.",
        ((share(rate(SHADOWS, 'outcome!="dropped"'), rate(SHADOWS)), "compared"),),
        unit="percentunit",
    ),
)

BATCHES = (
    Panel(
        "Batch sizes",
        "Requests scored together: whatever came while the last batch was scored.",
        ((increase("causalrec_batch_size_bucket", by="le"), "{{le}}"),),
        type="heatmap",
        width=12,
    ),
    Panel(
        "Search and encoding of a batch",
        "Median and 99 %.",
        tuple(
            (
                quantile(q, "causalrec_stage_duration_seconds", 'stage=~"search|encode"', "stage"),
                f"{{{{stage}}}} {q:.0%}",
            )
            for q in (0.5, 0.99)
        ),
        unit="s",
        width=12,
    ),
)

RANKING = Dashboard(
    "ranking",
    "Ranking",
    "What the answers are made of, and whether they are what they should be.",
    (("Lists", LISTS), ("Proofs and recall", PROVED), ("Batches", BATCHES)),
)
