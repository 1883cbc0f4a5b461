"""An experiment's report (`GET /v1/experiments/{key}/report`, read as a dict) in words and tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from training.report import markdown_table

Json = Mapping[str, Any]


def described(report: Json) -> str:
    """The verdict first, then the figures behind it."""
    blocks = [_verdict(report), _variants(report), _comparisons(report), *_health(report), *_dose(report)]
    blocks += [_preferences(report), _off_policy(report), report["disagreement"] or ""]
    blocks += [f"note: {note}" for note in report["notes"]]
    return "\n\n".join(block for block in blocks if block)


def shown(estimate: Json, digits: int = 4) -> str:
    """0.2187 [0.21, 0.227]."""
    if estimate["value"] is None:
        return "not known yet"
    value = f"{estimate['value']:.{digits}g}"
    if estimate["low"] is None or estimate["high"] is None:
        return value
    return f"{value} [{estimate['low']:.{digits}g}, {estimate['high']:.{digits}g}]"


def percent(estimate: Json) -> str:
    """+3.1 % [-1.0, +7.3]."""
    if estimate["value"] is None:
        return "not known yet"
    value = f"{100 * estimate['value']:+.1f} %"
    if estimate["low"] is None or estimate["high"] is None:
        return value
    return f"{value} [{100 * estimate['low']:+.1f}, {100 * estimate['high']:+.1f}]"


def plain(metric: str) -> str:
    """purchases per user."""
    return metric.replace("_", " ")


def _verdict(report: Json) -> str:
    verdict = report["verdict"]
    head = f"{report['key']} (version {report['version']}, {report['kind']}, {report['state']}): {verdict['headline']}"
    return "\n".join([head, *(f"  - {reason}" for reason in verdict["reasons"])])


def _variants(report: Json) -> str:
    metrics = list(dict.fromkeys(each["metric"] for each in report["variants"]))
    names = list(dict.fromkeys(each["variant"] for each in report["variants"]))
    found = {(each["variant"], each["metric"]): each for each in report["variants"]}
    rows = []
    for name in names:
        cells = [found.get((name, metric)) for metric in metrics]
        first = next(cell for cell in cells if cell is not None)
        lambda2 = "" if first["lambda2"] is None else f"{first['lambda2']:g}"
        figures = ["" if cell is None else shown(cell["estimate"]) for cell in cells]
        rows.append([name, lambda2, f"{first['units']:,}", *figures])
    return markdown_table(["variant", "λ2", "units", *map(plain, metrics)], rows) if rows else ""


def _comparisons(report: Json) -> str:
    rows = [
        [
            plain(each["metric"]),
            each["variant"],
            percent(each["lift"]),
            "" if each["adjusted_p_value"] is None else f"{each['adjusted_p_value']:.2g}",
            "yes" if each["significant"] else "",
            f"{each['variance_reduction']:.0%}",
        ]
        for each in report["comparisons"]
    ]
    header = ["metric", "variant", f"against {report['control']}", "p", "significant", "variance less by CUPED"]
    return f"{markdown_table(header, rows)}\n({report['multiplicity']})" if rows else ""


def _health(report: Json) -> Iterator[str]:
    ratio = report["sample_ratio"]
    if ratio is not None:
        counts = ", ".join(
            f"{name} {count:,} ({ratio['expected'].get(name, 0):.0%} expected)"
            for name, count in ratio["observed"].items()
        )
        word = "FAILED" if ratio["failed"] else "passes"
        yield f"sample ratio: {word}, p = {ratio['p_value']:.3g}: {counts}"
    for each in report["guardrails"]:
        word = "BREACHED" if each["breached"] else "holds"
        yield (
            f"guardrail {plain(each['metric'])} of {each['variant']}: {word}, {percent(each['change'])} worse, "
            f"{each['most']:.0%} allowed"
        )


def _dose(report: Json) -> Iterator[str]:
    for each in report["dose_response"]:
        yield f"best λ2 by {plain(each['metric'])}: {shown(each['best'], 3)}; {_conclusive(each)}"


def _conclusive(dose: Json) -> str:
    low, high = dose["best"]["low"], dose["best"]["high"]
    width = "" if low is None or high is None else f"the interval is {high - low:.2f} wide"
    if dose["conclusive"]:
        return f"{width}, narrower than 0.5"
    needed = dose["units_needed"]
    more = "how many users it takes cannot be told yet" if needed is None else f"about {needed:,} users in all"
    return f"{width or 'no interval yet'}: more traffic is needed for one narrower than 0.5 ({more})"


def _preferences(report: Json) -> str:
    rows = [
        [each["metric"], each["first"], each["second"], f"{each['units']:,}", shown(each["preference"], 3)]
        for each in report["preferences"]
    ]
    header = ["by", "first", "second", "users", "preference: 1 all the first, -1 all the second"]
    return markdown_table(header, rows) if rows else ""


def _off_policy(report: Json) -> str:
    rows = [
        [
            f"{each['lambda2']:g}",
            shown(each["snips"]),
            shown(each["doubly_robust"]),
            f"{each['effective_units']:,.0f}" + (" (too few)" if each["thin"] else ""),
        ]
        for each in report["off_policy"]
    ]
    return markdown_table(["λ2", "SNIPS", "doubly robust", "effective users"], rows) if rows else ""
