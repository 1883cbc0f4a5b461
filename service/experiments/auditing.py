"""What a version is, and what is new in it, in words: for the audit log."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from service.experiments.model import Config, Experiment, Guardrail, Holdout, Tuning, Variant


def version(config: Config) -> str:
    """All that decides who gets what, and what ends it."""
    what = f"{config.kind} of {_variants(config.variants)}" if config.variants else f"λ2 {_ends(config.between)}"
    where = f"{_percent(config.allocation)} of segment {_ends(config.segment)} of layer {config.layer}"
    rails = f"; guardrails {_guardrails(config.guardrails)}" if config.guardrails else ""
    return f"{what}; {where}; primary {config.primary}{rails}"


def newest(before: Experiment | None, after: Experiment) -> str:
    """What the newest version says otherwise than the one before it."""
    if before is None:
        return version(after.versions[-1])
    return changes(before.versions[-1], after.versions[-1])


def changes(before: Config, after: Config) -> str:
    """Every field that is another one now."""
    said = [
        f"{name} {_shown(name, was)} → {_shown(name, now)}"
        for name, was, now in zip(Config._fields, before, after, strict=True)
        if was != now and name not in OWN
    ]
    kept = "" if after.series == before.series else "; units are analysed anew: they split otherwise"
    return ("; ".join(said) or "nothing is other than before") + kept


def start(before: Experiment | None, after: Experiment) -> str:
    """Which version is in force, and where that is another one than before, what that changes."""
    now = after.config
    if before is None or before.running is None:
        return f"version {now.version} in force: {version(now)}"
    if before.running == now.version:
        return f"version {now.version} in force again"
    return f"version {now.version} in force instead of {before.running}: {changes(before.config, now)}"


def holdout(before: Holdout, after: Holdout) -> str:
    """The share, and the salt where it is another one."""
    salt = "" if before.salt == after.salt else f"; salt {before.salt} → {after.salt}"
    return f"share {before.share:g} → {after.share:g}{salt}"


OWN: Final = ("key", "version", "series", "created", "actor")


def _variants(variants: tuple[Variant, ...]) -> str:
    return ", ".join(f"{each.name} (λ2 {each.lambda2:g}, weight {each.weight:.4g})" for each in variants) or "none"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _ends(ends: tuple[float, float] | None) -> str:
    return "none" if ends is None else f"[{ends[0]:g}, {ends[1]:g})"


def _guardrails(guardrails: tuple[Guardrail, ...]) -> str:
    return ", ".join(f"{each.metric} (at most {_percent(each.most)} worse)" for each in guardrails) or "none"


def _tuning(tuning: Tuning | None) -> str:
    return "none" if tuning is None else f"floor {tuning.floor:g}, every {tuning.every:g} s"


WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "variants": _variants,
    "segment": _ends,
    "between": _ends,
    "guardrails": _guardrails,
    "tuning": _tuning,
    "secondary": lambda names: ", ".join(names) or "none",
    "overrides": lambda named: f"of {len(named)} users",
}


def _shown(name: str, value: Any) -> str:
    if name in WORDS:
        return WORDS[name](value)
    return "none" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
