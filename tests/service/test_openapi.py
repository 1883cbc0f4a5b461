"""The documentation is tested: what it shows is what the service sends."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from service.posted import RecommendationRequest
from service.problem_kinds import MEDIA_TYPE, Problem
from service.schemas import BatchAnswer, PathAnswer, RecommendationAnswer

GET = ("/v1/users/{user_id}/recommendations", "get")
POST = ("/v1/recommendations", "post")
BATCH = ("/v1/recommendations/batch", "post")
PATH = ("/v1/users/{user_id}/lambda2-path", "get")
EVENTS = ("/v1/events", "post")
ITEM = "/v1/items/{item_id}"
READY = ("/health/ready", "get")
EXPERIMENTS, EXPERIMENT, HOLDOUT = "/v1/experiments", "/v1/experiments/{key}", "/v1/experiments-holdout"
MODELS, MODEL = "/v1/models", "/v1/models/{model_id}"
AUDIT, PLAN = "/v1/experiments-audit", "/v1/experiments-plan"
OF_ONE = ("versions", "start", "pause", "stop", "assignment", "report", "audit")
FLAGS = "/ofrep/v1/evaluate/flags"
OFREP = (FLAGS, f"{FLAGS}/{{key}}")  # whose errors have a form of their own


@pytest.fixture(scope="module")
def paths(client: TestClient) -> dict[str, Any]:
    """The documented operations."""
    documented: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    return documented


def operations(paths: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in paths.values() for operation in path.values()]


def test_every_route_is_documented(client: TestClient, paths: dict[str, Any]) -> None:
    """With a summary and a description; the page that shows them is there."""
    own = {GET[0], POST[0], BATCH[0], PATH[0], EVENTS[0], ITEM}
    trials = {EXPERIMENTS, EXPERIMENT, HOLDOUT, AUDIT, PLAN, *(f"{EXPERIMENT}/{act}" for act in OF_ONE)}
    models = {MODELS, f"{MODELS}/rollback", f"{MODEL}/activate", f"{MODEL}/canary"}
    assert set(paths) == {*own, *trials, *models, *OFREP, "/health/live", "/health/ready", "/metrics"}
    assert all(operation["summary"] and operation["description"] for operation in operations(paths))
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("route", "statuses"),
    [
        (GET, {"200", "304", "422", "503"}),
        (POST, {"200", "400", "413", "415", "422", "503"}),
        (BATCH, {"200", "400", "413", "415", "422", "503"}),
        (PATH, {"200", "304", "422", "503"}),
        (EVENTS, {"200", "400", "413", "415", "422", "503"}),
        ((ITEM, "get"), {"200", "404", "422", "503"}),
        ((ITEM, "put"), {"200", "201", "400", "409", "413", "415", "422", "503"}),
        ((ITEM, "patch"), {"200", "400", "404", "413", "415", "422", "503"}),
        ((ITEM, "delete"), {"204", "404", "422", "503"}),
        ((EXPERIMENTS, "get"), {"200", "503"}),
        ((EXPERIMENTS, "post"), {"201", "400", "409", "413", "415", "422", "503"}),
        ((EXPERIMENT, "get"), {"200", "404", "422", "503"}),
        ((f"{EXPERIMENT}/versions", "post"), {"201", "400", "404", "409", "413", "415", "422", "503"}),
        ((f"{EXPERIMENT}/start", "post"), {"200", "400", "404", "409", "413", "415", "422", "503"}),
        ((f"{EXPERIMENT}/pause", "post"), {"200", "404", "409", "422", "503"}),
        ((f"{EXPERIMENT}/stop", "post"), {"200", "400", "404", "409", "413", "415", "422", "503"}),
        ((f"{EXPERIMENT}/assignment", "get"), {"200", "404", "422", "503"}),
        ((f"{EXPERIMENT}/report", "get"), {"200", "404", "422", "503"}),
        ((f"{EXPERIMENT}/audit", "get"), {"200", "404", "422", "503"}),
        ((HOLDOUT, "get"), {"200", "503"}),
        ((HOLDOUT, "put"), {"200", "400", "409", "413", "415", "422", "503"}),
        ((MODELS, "get"), {"200", "503"}),
        ((f"{MODELS}/rollback", "post"), {"200", "409", "422", "503"}),
        ((f"{MODEL}/activate", "post"), {"200", "404", "422", "503"}),
        ((f"{MODEL}/canary", "post"), {"200", "400", "404", "409", "413", "415", "422", "503"}),
        ((AUDIT, "get"), {"200", "422", "503"}),
        ((PLAN, "post"), {"200", "400", "413", "415", "422"}),
        ((OFREP[0], "post"), {"200", "304", "400", "413", "503"}),
        ((OFREP[1], "post"), {"200", "400", "404", "413", "503"}),
        (READY, {"200", "503"}),
    ],
)
def test_every_status_is_documented(paths: dict[str, Any], route: tuple[str, str], statuses: set[str]) -> None:
    """Each route names every status of its own; what holds for all paths (404, 405, 500) is in the description."""
    responses = paths[route[0]][route[1]]["responses"]

    assert set(responses) == statuses


def test_every_problem_has_an_example_of_its_shape(paths: dict[str, Any]) -> None:
    """As application/problem+json and nothing else, with the right status in it."""
    for operation in operations({path: documented for path, documented in paths.items() if path not in OFREP}):
        for status, response in operation["responses"].items():
            if status >= "400":
                content = response["content"]

                assert set(content) == {MEDIA_TYPE}
                assert Problem.model_validate(content[MEDIA_TYPE]["example"]).status == int(status)
                assert content[MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_examples_of_success_fit_their_schema(client: TestClient, paths: dict[str, Any]) -> None:
    """And a real answer fits it too."""
    content = paths[GET[0]][GET[1]]["responses"]["200"]["content"]["application/json"]
    batch = paths[BATCH[0]][BATCH[1]]["responses"]["200"]["content"]["application/json"]

    posted = paths[POST[0]][POST[1]]["responses"]["200"]["content"]["application/json"]
    traced = paths[PATH[0]][PATH[1]]["responses"]["200"]["content"]["application/json"]

    for example in content["examples"].values():
        RecommendationAnswer.model_validate(example["value"])
    for example in posted["examples"].values():
        TypeAdapter(RecommendationAnswer | BatchAnswer).validate_python(example["value"])
    PathAnswer.model_validate(traced["example"])
    BatchAnswer.model_validate(batch["example"])
    real = client.get("/v1/users/ann/recommendations", params={"explain": True}).json()
    assert RecommendationAnswer.model_validate(real)
    assert content["schema"] == {"$ref": "#/components/schemas/RecommendationAnswer"}


def test_the_example_requests_can_be_sent(client: TestClient) -> None:
    """Copied from the documentation, they are answered."""
    examples = TypeAdapter(RecommendationRequest).json_schema()["examples"]

    answers = [client.post(POST[0], json=example) for example in examples]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert len(answers[1].json()["answers"]) == len(examples[1]["lambda2"])


def test_every_parameter_and_field_is_described(client: TestClient, paths: dict[str, Any]) -> None:
    """Nobody has to guess what a value means."""
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    for operation in operations(paths):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), parameter["name"]
    for model in (
        "RecommendationRequest",
        "BatchedRequest",
        "ItemChange",
        "EventsAnswer",
        "ItemAnswer",
        "ExperimentBody",
        "VersionBody",
        "VariantBody",
        "GuardrailBody",
        "TuningBody",
        "HoldoutBody",
        "PlanBody",
        "PlanPart",
        "PlanAnswer",
        "ExperimentsAnswer",
        "ExperimentAnswer",
        "VersionShown",
        "VariantShown",
        "GuardrailShown",
        "TuningShown",
        "AssignmentAnswer",
        "HoldoutAnswer",
        "AuditEntryShown",
        "CanaryBody",
        "ModelsAnswer",
        "ChangedAnswer",
        "ModelShown",
        "CanaryShown",
        "RehearsalShown",
    ):
        for name, field in schemas[model]["properties"].items():
            assert field.get("description"), name
