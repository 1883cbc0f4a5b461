"""Is it well: objectives, traffic, errors, latency, saturation."""

from .panels import Dashboard, Panel, Query
from .promql import LISTS, ONE_LIST, gauge, mean, quantile, rate, recorded, share, total

REQUESTS, SECONDS = "causalrec_requests_total", "causalrec_request_duration_seconds"
STAGES = "causalrec_stage_duration_seconds"


def burn(objective: str, budget: float) -> tuple[Query, ...]:
    """How many times faster than allowed the budget burns, over windows that alerts look at."""
    windows = ("5m", "1h", "6h", "3d")
    return tuple((f"{recorded(f'causalrec:{objective}_errors:ratio_rate{w}')} / {budget}", w) for w in windows)


def alerts_of(objective: str) -> tuple[str, ...]:
    """The burn-rate alerts of an objective."""
    return f"CausalRec{objective}BudgetFast", f"CausalRec{objective}BudgetSlow"


OBJECTIVES = (
    Panel(
        "Availability, last hour",
        "Share of recommendation requests that neither failed nor were refused. The objective is 99.9 %.",
        ((f"1 - {recorded('causalrec:availability_errors:ratio_rate1h')}", ""),),
        unit="percentunit",
        type="stat",
        width=4,
        calm="red",
        steps=((0.999, "green"),),
        alerts=alerts_of("Availability"),
    ),
    Panel(
        "Within 50 ms, last hour",
        "Share of the answered requests for one list that took at most 50 ms. The objective is 99 %.",
        ((f"1 - {recorded('causalrec:latency_errors:ratio_rate1h')}", ""),),
        unit="percentunit",
        type="stat",
        width=4,
        calm="red",
        steps=((0.99, "green"),),
        alerts=alerts_of("Latency"),
    ),
    Panel(
        "Alerts",
        "How many of this project's alerts are firing.",
        (('count(ALERTS{alertname=~"CausalRec.*",alertstate="firing"}) or vector(0)', ""),),
        type="stat",
        width=4,
        steps=((1, "red"),),
    ),
    Panel(
        "Replicas up",
        "Replicas that Prometheus can scrape.",
        (('sum(up{job="$job"})', ""),),
        type="stat",
        width=4,
        calm="red",
        steps=((1, "green"),),
        alerts=("CausalRecDown", "CausalRecAbsent"),
    ),
    Panel(
        "Replicas ready",
        "Replicas that say on /health/ready that requests may be sent to them.",
        ((total("causalrec_ready"), ""),),
        type="stat",
        width=4,
        calm="red",
        steps=((1, "green"),),
        alerts=("CausalRecReplicaNotReady",),
    ),
    Panel(
        "Bundles served",
        "Different bundles on the replicas; more than one for longer than a roll-out takes is wrong.",
        ((f"count(count by (bundle_id) ({gauge('causalrec_bundle_info')}))", ""),),
        type="stat",
        width=4,
        steps=((2, "orange"),),
        alerts=("CausalRecBundlesDisagree",),
    ),
    Panel(
        "Availability: burn rate of the budget",
        "1 uses up the budget of 30 days in 30 days; at 14.4 over an hour somebody is paged.",
        burn("availability", 0.001),
        width=12,
        steps=((1, "orange"), (14.4, "red")),
        alerts=alerts_of("Availability"),
    ),
    Panel(
        "Latency: burn rate of the budget",
        "1 uses up the budget of 30 days in 30 days; at 14.4 over an hour somebody is paged.",
        burn("latency", 0.01),
        width=12,
        steps=((1, "orange"), (14.4, "red")),
        alerts=alerts_of("Latency"),
    ),
)

TRAFFIC = (
    Panel("Requests by route", "Everything that was answered.", ((rate(REQUESTS, by="route"), "{{route}}"),), "reqps"),
    Panel("Requests by status", "The same by HTTP status.", ((rate(REQUESTS, by="status"), "{{status}}"),), "reqps"),
    Panel(
        "Requests by replica",
        "Whether the load is spread.",
        ((rate(REQUESTS, by="instance"), "{{instance}}"),),
        "reqps",
    ),
)

FAILED, REFUSED = 'status=~"5..",route!="refused"', 'route="refused"'
ERRORS = (
    Panel(
        "Failed",
        "Share of all requests answered 5xx, without those refused because the line was full.",
        ((share(rate(REQUESTS, FAILED), rate(REQUESTS)), "failed"),),
        unit="percentunit",
        steps=((0.001, "red"),),
        alerts=("CausalRecAvailabilityBudgetFast",),
    ),
    Panel(
        "Refused",
        "Share of recommendation requests refused with 503 and Retry-After, because too many wait: scale out.",
        ((share(rate(REQUESTS, REFUSED), rate(REQUESTS, LISTS)), "refused"),),
        unit="percentunit",
        steps=((0.001, "red"),),
        alerts=("CausalRecAvailabilityBudgetFast",),
    ),
    Panel(
        "Callers' mistakes",
        "4xx by status. They count in no objective; many at once mean that a caller was changed.",
        ((rate(REQUESTS, 'status=~"4.."', "status"), "{{status}}"),),
        unit="reqps",
    ),
)

LATENCY = (
    Panel(
        "Time of one list",
        "From the request's head to the end of the answer; the objective is 99 % within 50 ms.",
        tuple((quantile(q, SECONDS, ONE_LIST), f"{q:.0%}") for q in (0.5, 0.95, 0.99)),
        unit="s",
        steps=((0.05, "red"),),
        alerts=("CausalRecLatencyBudgetFast",),
    ),
    Panel(
        "99 % of each stage",
        "state: waiting for Redis; queue: waiting to be scored; search: retrieval and exact ranking; encode.",
        ((quantile(0.99, STAGES, by="stage"), "{{stage}}"),),
        unit="s",
    ),
    Panel(
        "Mean of each stage",
        "Where the time goes; search and encode are of a whole batch.",
        ((mean(STAGES, by="stage"), "{{stage}}"),),
        unit="s",
        stacked=True,
    ),
)

SATURATION = (
    Panel(
        "Waiting",
        "Requests waiting for the scoring thread. At max_waiting (64) more are refused.",
        ((gauge("causalrec_waiting"), "{{instance}}"),),
        width=6,
        steps=((64, "red"),),
    ),
    Panel(
        "In progress",
        "Requests not yet answered.",
        ((gauge("causalrec_requests_in_progress"), "{{instance}}"),),
        width=6,
    ),
    Panel(
        "Batch size",
        "Requests scored together, the mean: near 1 there is room, near max_batch (32) there is none.",
        ((mean("causalrec_batch_size", by="instance"), "{{instance}}"),),
        width=6,
        steps=((32, "red"),),
    ),
    Panel(
        "CPU",
        "Cores used by each replica.",
        ((rate("causalrec_process_cpu_seconds_total", by="instance"), "{{instance}}"),),
        width=6,
    ),
)

OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "Objectives, traffic, errors, latency, saturation.",
    (
        ("Objectives", OBJECTIVES),
        ("Traffic", TRAFFIC),
        ("Errors", ERRORS),
        ("Latency", LATENCY),
        ("Saturation", SATURATION),
    ),
)
