"""Metrics: what happened, by fixed labels, and nobody's name."""

from prometheus_client.parser import text_string_to_metric_families

from service.telemetry import Telemetry
from tests.service.conftest import Serve

ROUTE = "/v1/users/{user_id}/recommendations"


def test_what_happened_is_counted(serve: Serve) -> None:
    """Requests by route template, answers by source and proof, λ2, empty lists, the bundle."""
    client = serve()
    client.get("/v1/users/ann/recommendations", params={"lambda2": 0.8})
    client.get("/v1/users/nobody/recommendations")
    client.get("/v1/users/ann/recommendations", params={"k": 0})
    client.post("/v1/recommendations", json={"user_id": "ann", "candidate_item_ids": []})
    client.request("BREW", "/nowhere")

    lines = client.get("/metrics").text.splitlines()

    assert f'causalrec_requests_total{{method="GET",route="{ROUTE}",status="200"}} 2.0' in lines
    assert f'causalrec_requests_total{{method="GET",route="{ROUTE}",status="422"}} 1.0' in lines
    assert 'causalrec_requests_total{method="other",route="unmatched",status="404"} 1.0' in lines
    assert f'causalrec_request_duration_seconds_count{{outcome="answered",route="{ROUTE}"}} 2.0' in lines
    assert f'causalrec_request_duration_seconds_count{{outcome="failed",route="{ROUTE}"}} 1.0' in lines
    assert 'causalrec_answers_total{source="personal"} 2.0' in lines
    assert 'causalrec_answers_total{source="cold_user"} 1.0' in lines
    assert 'causalrec_stage_duration_seconds_count{stage="search"} 3.0' in lines
    assert 'causalrec_stage_duration_seconds_count{stage="queue"} 3.0' in lines
    assert "causalrec_batch_size_count 3.0" in lines
    assert "causalrec_batch_size_sum 3.0" in lines
    assert "causalrec_candidates_count 3.0" in lines
    assert "causalrec_empty_results_total 1.0" in lines
    assert 'causalrec_lambda2_bucket{le="0.6"} 2.0' in lines
    assert "causalrec_waiting 0.0" in lines
    assert "causalrec_requests_in_progress 1.0" in lines  # this one
    assert any(line.startswith("causalrec_bundle_info{") and 'form="paper"' in line for line in lines)


def test_limits_stand_beside_what_they_limit(serve: Serve) -> None:
    """So that an alert can say "nearly full" without knowing the settings."""
    lines = serve(max_events=1234, max_spool_bytes=1 << 21).get("/metrics").text.splitlines()

    assert "causalrec_event_log_limit 1234.0" in lines
    assert "causalrec_event_log_events 0.0" in lines
    assert "causalrec_spool_limit_bytes 2.097152e+06" in lines
    assert "causalrec_ready 1.0" in lines
    assert any(line.startswith("causalrec_memory_limit_bytes ") for line in lines)
    assert any(line.startswith('causalrec_gc_collections_total{generation="2"} ') for line in lines)


def test_sample_ratios_are_those_told_last() -> None:
    """Of an experiment that ended, or that another replica looks after now, nothing stays."""
    telemetry = Telemetry(waiting=lambda: 0)
    telemetry.sample_ratios({"old": 0.5, "dial": 0.004})

    telemetry.sample_ratios({"dial": 0.003})

    found = [line for line in telemetry.render().decode().splitlines() if line.startswith("causalrec_experiment_srm")]
    assert found == ['causalrec_experiment_srm_p_value{experiment="dial"} 0.003']


def test_no_id_becomes_a_label(serve: Serve) -> None:
    """Neither users nor items nor unknown paths: labels come from fixed sets."""
    client = serve()
    for user in ("ann", "secret-user", "a%2Fb"):
        client.get(f"/v1/users/{user}/recommendations", params={"exclude_item_ids": "secret-item"})
    client.get("/secret-path")

    text = client.get("/metrics").text

    assert not any(word in text for word in ("secret", "ann", "item-0", "a/b"))


def test_every_metric_has_our_prefix_and_a_help_text(serve: Serve) -> None:
    """What an operator finds in Prometheus is recognisable and explained."""
    text = serve().get("/metrics").text

    families = list(text_string_to_metric_families(text))
    assert len(families) > 10
    assert all(family.name.startswith("causalrec_") and family.documentation for family in families)
