"""The processes themselves: bundle, memory, CPU, garbage, files."""

from .panels import Dashboard, Panel
from .promql import gauge, increase, quantile, rate

REPLICA = "{{instance}}"
MEMORY, LIMIT = gauge("causalrec_process_resident_memory_bytes"), gauge("causalrec_memory_limit_bytes")
FILES, MOST_FILES = gauge("causalrec_process_open_fds"), gauge("causalrec_process_max_fds")

PROCESS = Dashboard(
    "process",
    "Process",
    "Bundle, memory, CPU, garbage collection, files, restarts.",
    (
        (
            "Bundle",
            (
                Panel(
                    "What is served",
                    "The bundle of each replica.",
                    ((gauge("causalrec_bundle_info"), ""),),
                    type="table",
                    width=16,
                    alerts=("CausalRecBundlesDisagree",),
                ),
                Panel(
                    "Bundles that could not be loaded",
                    "Each leaves the one before it in service.",
                    ((increase("causalrec_model_load_failures_total", by="instance"), REPLICA),),
                    steps=((1, "red"),),
                    alerts=("CausalRecModelLoadFailed",),
                ),
            ),
        ),
        (
            "Models",
            (
                Panel(
                    "Behind",
                    "1 while all replicas are to serve a bundle that this one has not, or cannot serve.",
                    ((gauge("causalrec_model_behind"), REPLICA),),
                    width=6,
                    steps=((1, "red"),),
                    alerts=("CausalRecModelBehind",),
                ),
                Panel(
                    "Requests by role",
                    "Answered by the stable bundle, or by one that is tried out (canary).",
                    ((rate("causalrec_model_answers_total", by="role, outcome"), "{{role}} {{outcome}}"),),
                    unit="reqps",
                    width=6,
                ),
                Panel(
                    "Search by role, 99 %",
                    "Per request: whether a canary is slower.",
                    ((quantile(0.99, "causalrec_model_search_seconds", by="role"), "{{role}}"),),
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Swaps, and bundles in memory",
                    "How often another bundle was served from then on; in memory: served, previous, canary, shadow.",
                    (
                        (increase("causalrec_model_swaps_total"), "swaps"),
                        (f"max({gauge('causalrec_model_resident')})", "in memory"),
                    ),
                    width=6,
                ),
            ),
        ),
        (
            "Resources",
            (
                Panel(
                    "Memory",
                    "Resident memory of each replica; a slow climb that does not end is a leak.",
                    ((MEMORY, REPLICA),),
                    unit="bytes",
                    alerts=("CausalRecMemoryNearLimit",),
                ),
                Panel(
                    "Memory, of the limit",
                    "0 where the container has no limit.",
                    ((f"{MEMORY} / {LIMIT}", REPLICA),),
                    unit="percentunit",
                    steps=((0.9, "red"),),
                    alerts=("CausalRecMemoryNearLimit",),
                ),
                Panel("CPU", "Cores used.", ((rate("causalrec_process_cpu_seconds_total", by="instance"), REPLICA),)),
                Panel(
                    "Garbage collections",
                    "Per second, by generation. What is loaded is frozen, so the oldest should be rare.",
                    ((rate("causalrec_gc_collections_total", by="generation"), "{{generation}}"),),
                    unit="cps",
                ),
                Panel(
                    "Open files",
                    "Files and connections, as a share of what the process may have open.",
                    ((f"{FILES} / {MOST_FILES}", REPLICA),),
                    unit="percentunit",
                    steps=((0.8, "red"),),
                ),
                Panel(
                    "Running for",
                    "Since the process started; it falls to 0 with every restart.",
                    ((f"time() - {gauge('causalrec_process_start_time_seconds')}", REPLICA),),
                    unit="s",
                    alerts=("CausalRecRestarting",),
                ),
            ),
        ),
    ),
)
