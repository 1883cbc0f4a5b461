"""What somebody says of an experiment, put together with what holds where they say nothing."""

from collections.abc import Mapping
from typing import Any, Final

from service.experiments.changes import named
from service.experiments.model import EMPTY, Config

OF_KIND: Final = ("variants", "control", "between", "overrides", "guardrails", "tuning")
"""What means something else, or nothing, in an experiment of another kind."""


def drafted(said: Mapping[str, Any], before: Config = EMPTY) -> Config:
    """
    What `said` (field of Config → value) makes of `before`, the newest version: what is left out is as it was. A
    version of another kind takes over nothing of what belongs to a kind; one with other variants keeps the control if
    it is still among them.
    """
    if said.get("kind", before.kind) != before.kind:
        before = before._replace(**{name: getattr(EMPTY, name) for name in OF_KIND})
    after = before._replace(**said)
    after = after._replace(variants=named(after.variants))
    if "control" not in said and after.control not in {variant.name for variant in after.variants}:
        after = after._replace(control="")
    return after
