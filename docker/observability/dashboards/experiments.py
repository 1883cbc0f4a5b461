"""Experiments: who is exposed to what, whether it is recorded, whether users come as they should."""

from .panels import Dashboard, Panel
from .promql import gauge, increase, rate, share

EXPOSURES, ANSWERS = "causalrec_exposures_total", "causalrec_experiment_answers_total"
EVENTS, FALLBACKS = "causalrec_events_total", "causalrec_fallbacks_total"
RECORDS = 'type=~"exposure|list|failure"'
EACH = "{{experiment}} {{variant}}"

EXPERIMENTS = Dashboard(
    "experiments",
    "Experiments",
    "Exposures, answers, and what would make a report worthless. What an experiment says stands in its report.",
    (
        (
            "Exposure",
            (
                Panel(
                    "Exposures",
                    "First answers of users in an experiment; again after a process was restarted.",
                    ((increase(EXPOSURES, by="experiment, variant"), EACH),),
                ),
                Panel(
                    "Share of each variant",
                    "Of the exposures of its experiment. It wavers where few come; the test beside knows by how much.",
                    (
                        (
                            f"{increase(EXPOSURES, by='experiment, variant')} / on (experiment) group_left () "
                            f"{increase(EXPOSURES, by='experiment')}",
                            EACH,
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Sample ratio: p-value",
                    "Valid at every look. At 0.01 or less users did not come to the variants as they should: "
                    "something is broken, and nothing in the report may be believed.",
                    ((f"min by (experiment) ({gauge('causalrec_experiment_srm_p_value')})", "{{experiment}}"),),
                    calm="red",
                    steps=((0.01, "green"),),
                    alerts=("CausalRecSampleRatioMismatch",),
                    log=True,
                ),
            ),
        ),
        (
            "Answers",
            (
                Panel(
                    "Answers in experiments",
                    "Lists that were recorded, per second.",
                    ((rate(ANSWERS, by="experiment, variant"), EACH),),
                    unit="reqps",
                ),
                Panel(
                    "Share of all lists",
                    "Of the lists served, those in an experiment.",
                    ((share(rate(ANSWERS), rate("causalrec_answers_total")), "in an experiment"),),
                    unit="percentunit",
                ),
                Panel(
                    "Fell out",
                    "Answers whose exposure could be stored nowhere: the default λ2 was served instead.",
                    ((increase(FALLBACKS, 'reason="experiment"', "instance"), "{{instance}}"),),
                    steps=((1, "red"),),
                    alerts=("CausalRecExposuresNotRecorded",),
                ),
                Panel(
                    "Records by outcome",
                    "Exposures, lists and failures: accepted (in Redis), spooled (on disk, for later), refused.",
                    ((rate(EVENTS, RECORDS, "type, outcome"), "{{type}} {{outcome}}"),),
                    unit="cps",
                    width=12,
                ),
                Panel(
                    "Failures recorded",
                    "Errors where answers in an experiment should have been; guardrails may look at them.",
                    ((increase(EVENTS, 'type="failure",outcome=~"accepted|spooled"'), "failures"),),
                    width=12,
                ),
            ),
        ),
    ),
)
