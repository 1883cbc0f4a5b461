"""What outlives a request: Redis, the spool, the event log, the live catalogue."""

from .panels import Dashboard, Panel
from .promql import gauge, increase, quantile, rate, share

EVENTS, STAGES = "causalrec_events_total", "causalrec_stage_duration_seconds"
REPLICA = "{{instance}}"
TOLD = 'type!~"exposure|list|failure"'

REDIS = (
    Panel(
        "Redis answers",
        "1 while Redis answers this replica.",
        ((gauge("causalrec_state_available"), REPLICA),),
        calm="red",
        steps=((1, "green"),),
        alerts=("CausalRecRedisAway",),
    ),
    Panel(
        "Time of Redis in a request",
        "How long requests wait for what is remembered of their user; after state_budget_ms (20) they go on without.",
        tuple((quantile(q, STAGES, 'stage="state"'), f"{q:.0%}") for q in (0.5, 0.99)),
        unit="s",
        steps=((0.02, "red"),),
    ),
    Panel(
        "Answers without state",
        "Share of the requests that asked Redis and went on without an answer.",
        (
            (
                share(rate("causalrec_fallbacks_total", 'reason="state"'), rate(f"{STAGES}_count", 'stage="state"')),
                "without",
            ),
        ),
        unit="percentunit",
        steps=((0.01, "red"),),
        alerts=("CausalRecAnswersWithoutState",),
    ),
    Panel(
        "Restarts of the embedded Redis",
        "How often it died since the process started, where there is one.",
        ((gauge("causalrec_embedded_restarts"), REPLICA),),
        alerts=("CausalRecEmbeddedRedisRestarting",),
    ),
    Panel(
        "Spool",
        "Share of the room for events that wait on the replica's disk for Redis.",
        ((f"{gauge('causalrec_spool_bytes')} / {gauge('causalrec_spool_limit_bytes')}", REPLICA),),
        unit="percentunit",
        steps=((0.5, "red"),),
        alerts=("CausalRecSpoolGrowing", "CausalRecSpoolNearlyFull"),
    ),
    Panel(
        "Event log",
        "Share of the room for events in Redis that nobody has exported yet.",
        ((f"max({gauge('causalrec_event_log_events')} / {gauge('causalrec_event_log_limit')})", "full"),),
        unit="percentunit",
        steps=((0.8, "red"),),
        alerts=("CausalRecEventLogNearlyFull",),
    ),
)

TELLING = (
    Panel(
        "Events by outcome",
        "accepted (in Redis), duplicate, spooled (on disk, for Redis later), refused.",
        ((rate(EVENTS, TOLD, "outcome"), "{{outcome}}"),),
        unit="cps",
        alerts=("CausalRecEventsRefused",),
    ),
    Panel(
        "Events by type",
        "Of those accepted or spooled.",
        ((rate(EVENTS, f'{TOLD},outcome=~"accepted|spooled"', "type"), "{{type}}"),),
        "cps",
    ),
    Panel(
        "Drained and unrecorded",
        "Drained: spooled events brought to Redis. Unrecorded: accepted ones that their users lack, because Redis went "
        "away in between.",
        (
            (increase("causalrec_events_drained_total"), "drained"),
            (increase("causalrec_events_unrecorded_total"), "unrecorded"),
        ),
    ),
)

CATALOGUE = (
    Panel(
        "Version of the catalogue",
        "How many changes of items each replica has taken over: one line, where all agree.",
        ((gauge("causalrec_catalogue_version"), REPLICA),),
        alerts=("CausalRecCataloguesDisagree",),
    ),
    Panel(
        "Items since the bundle",
        "live: new ones that can be recommended; skipped: their feature is of no use to this bundle.",
        (
            (f"max({gauge('causalrec_items_live')})", "live"),
            (f"max({gauge('causalrec_items_skipped')})", "skipped"),
        ),
    ),
    Panel(
        "Hidden items",
        "Items that no answer may hold: hidden or deleted.",
        ((f"max({gauge('causalrec_items_hidden')})", "hidden"),),
    ),
)

STATE = Dashboard(
    "state",
    "State",
    "Redis, the spool, events, the live catalogue.",
    (("Redis and what stands in for it", REDIS), ("Events", TELLING), ("Catalogue", CATALOGUE)),
)
