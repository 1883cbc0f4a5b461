"""Configurations: every bad one is refused by field, value and way out, whether it is new or a version."""

import math
from typing import Any

import pytest

from causalrec.errors import RequestError
from service.experiments.changes import created, versioned
from service.experiments.checks import Range
from service.experiments.model import (
    NO_EXPERIMENTS,
    Config,
    Guardrail,
    Tuning,
    Variant,
)
from tests.service.experiments.books import LIMITS, config, drawn, running, variants

NAN = math.nan
TUNED: dict[str, Any] = {"kind": "tuned", "tuning": Tuning(0.1, 3600)}
MIXED: dict[str, Any] = {"kind": "interleaving"}


@pytest.mark.parametrize(
    ("said", "field", "way_out"),
    [
        ({"key": "Dial"}, "key", "a-z"),
        ({"key": "-dial"}, "key", "a-z"),
        ({"key": "d" * 65}, "key", "1 to 64"),
        ({"key": "dial\n"}, "key", "a-z"),
        ({"kind": "bandit"}, "kind", "split, interleaving, random or tuned"),
        ({"variants": variants(0, 1, weights=[0.5, 0.6])}, "variants", "sum to 1.*0.454545 \\+ 0.545455"),
        ({"variants": variants(0, 1, weights=[0.5, 0.5 - 1e-8])}, "variants", "sum to 1"),
        ({"variants": variants(0, 1, weights=[1.0, 0.0])}, "variants.1.weight", "more than 0"),
        ({"variants": variants(0, 1, weights=[1.5, -0.5])}, "variants.1.weight", "more than 0"),
        ({"variants": variants(0, 1, weights=[0.5, NAN])}, "variants.1.weight", "more than 0"),
        ({"variants": variants(0, 3.01)}, "variants.1.lambda2", "between 0 and 3, the bundle's range"),
        ({"variants": variants(-0.01, 1)}, "variants.0.lambda2", "between 0 and 3"),
        ({"variants": variants(0, NAN)}, "variants.1.lambda2", "between 0 and 3"),
        ({"variants": variants(0.4, 0.4)}, "variants", "name them apart, as an A/A test must"),
        ({"variants": (Variant("a b", 0, 0.5), Variant("b", 1, 0.5))}, "variants.0.name", "letters, digits"),
        ({"variants": variants(0.4)}, "variants", "at least two"),
        ({"variants": ()}, "variants", "at least two"),
        ({**MIXED, "variants": variants(0, 0.4, 0.8)}, "variants", "exactly two"),
        ({**MIXED, "variants": variants(0)}, "variants", "exactly two"),
        ({**MIXED, "guardrails": (Guardrail("latency", 0.1),)}, "guardrails", "leave them out"),
        ({"between": (0, 1)}, "between", "kind=random"),
        ({"kind": "random"}, "variants", "between"),
        ({"kind": "random", "variants": ()}, "between", r"give \[low, high\]"),
        ({"kind": "random", "variants": (), "between": (1.0, 1.0)}, "between", "less than the second"),
        ({"kind": "random", "variants": (), "between": (0.0, 3.1)}, "between.1", "between 0 and 3"),
        ({"kind": "random", "variants": (), "between": (NAN, 1.0)}, "between.0", "between 0 and 3"),
        ({"kind": "random", "variants": (), "between": (0, 1), "control": "0"}, "control", "leave it out"),
        ({"kind": "random", "variants": (), "between": (0, 1), "overrides": {"u": "0"}}, "overrides", "leave them out"),
        ({"layer": "my layer"}, "layer", "such as default"),
        ({"segment": (0.5, 0.5)}, "segment", "0 <= from < to <= 1"),
        ({"segment": (-0.1, 0.5)}, "segment", "0 <= from"),
        ({"segment": (0.5, 1.1)}, "segment", "to <= 1"),
        ({"segment": (NAN, 1.0)}, "segment", "0 <= from"),
        ({"allocation": 0.0}, "allocation", "pause"),
        ({"allocation": 1.1}, "allocation", "at most 1"),
        ({"allocation": NAN}, "allocation", "at most 1"),
        ({"salt": "a\0b"}, "salt", "printable"),
        ({"salt": "s" * 129}, "salt", "1 to 128"),
        ({"control": "nobody"}, "control", "is no variant; one of 0, 0.8"),
        ({"overrides": {"ann": "nobody"}}, "overrides.ann", "is no variant; one of 0, 0.8"),
        ({"overrides": {"": "0"}}, "overrides", "is empty"),
        ({"primary": "happiness"}, "primary", "is no metric; one of purchases_per_user, "),
        ({"primary": "coverage"}, "primary", "is no metric"),
        ({"secondary": ("click_through", "joy")}, "secondary.1", "is no metric; one of "),
        ({"secondary": ("click_through", "click_through")}, "secondary", "named twice"),
        ({"secondary": ("purchases_per_user",)}, "secondary", "primary metric already"),
        ({"guardrails": (Guardrail("warmth", 0.1),)}, "guardrails.0.metric", "is no metric; one of .*coverage"),
        ({"guardrails": (Guardrail("latency", -0.1),)}, "guardrails.0.most", "0.1 is 10 % worse"),
        ({"guardrails": (Guardrail("latency", 0.1), Guardrail("latency", 0.2))}, "guardrails", "guarded twice"),
        ({"alpha": 0.0}, "alpha", "0.05 is usual"),
        ({"alpha": NAN}, "alpha", "0.05 is usual"),
        ({"window": 0.0}, "window_seconds", "leave it out"),
        ({"window": math.inf}, "window_seconds", "leave it out"),
        ({"planned_units": 0}, "planned_units", "at least 1"),
        ({"kind": "tuned"}, "tuning", '"floor": 0.05'),
        ({"tuning": Tuning(0.1, 60)}, "tuning", "kind=tuned"),
        ({"kind": "tuned", "tuning": Tuning(0.5, 60)}, "tuning.floor", "less than 1/2"),
        ({"kind": "tuned", "tuning": Tuning(0.0, 60)}, "tuning.floor", "more than 0"),
        ({"kind": "tuned", "tuning": Tuning(0.1, 0)}, "tuning.every", "seconds"),
        ({**TUNED, "variants": variants(0, 1, weights=[0.95, 0.05])}, "variants.1.weight", "tuning.floor=0.1"),
    ],
)
def test_a_bad_configuration_is_refused_with_the_way_out(said: dict[str, Any], field: str, way_out: str) -> None:
    """Field, value, and what would be right; whether it is new or a new version."""
    book = running(config())

    with pytest.raises(RequestError, match=way_out) as first:
        created(NO_EXPERIMENTS, config(**said), LIMITS)
    assert first.value.field == field
    if "key" not in said:
        with pytest.raises(RequestError, match=way_out) as second:
            versioned(book, "dial", config(**said), LIMITS)
        assert second.value.field == field


@pytest.mark.parametrize(
    "said",
    [
        config(variants=variants(0.0, 1.5, 3.0, weights=[0.3333333333] * 3)),
        config(variants=(Variant("a", 0.6, 0.5), Variant("b", 0.6, 0.5))),
        config(variants=variants(*(each / 10 for each in range(30)))),
        config(**{**MIXED, "variants": variants(1.0, 0.2)}),
        config(**{**TUNED, "variants": variants(0, 1, 2)}),
        drawn(between=(0.0, 3.0)),
    ],
)
def test_what_is_right_at_the_edge_is_taken(said: Config) -> None:
    """Rounding is no mistake, an A/A test needs equal λ2, the range holds its ends."""
    assert created(NO_EXPERIMENTS, said, LIMITS).state == "draft"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"variants": variants(0, 0.8)}, "variants.1.lambda2"),
        ({"kind": "random", "variants": (), "between": (0.0, 1.0)}, "between.1"),
    ],
)
def test_a_model_that_cannot_be_debiased_is_named_as_the_reason(said: dict[str, Any], field: str) -> None:
    """Whoever wanted to try λ2 out learns why that is in vain here, and what to do; an A/A test of λ2 = 0 may run."""
    limits = Range(0.0, 0.0, "it looks at no picture")

    with pytest.raises(RequestError, match=r"must be 0 .*: it looks at no picture; serve a bundle") as raised:
        created(NO_EXPERIMENTS, config(**said), limits)

    twice = (Variant("a", 0.0, 0.5), Variant("b", 0.0, 0.5))
    assert raised.value.field == field
    assert created(NO_EXPERIMENTS, config(variants=twice), limits).state == "draft"
