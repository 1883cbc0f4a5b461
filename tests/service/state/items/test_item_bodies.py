"""What is sent of items is taken as documented, or refused by field."""

from typing import Any
from urllib.parse import quote

import pytest
import torch
from fastapi.testclient import TestClient

from causalrec.backbone import LITE0, decode_picture, load_backbone
from service.item_schemas import ItemAnswer, ItemBody, ItemChange
from tests.bundles import FEATURES
from tests.service.state.items.world import (
    BODY,
    FEATURE,
    NEW,
    SAID,
    TRAINED,
    Start,
    bundle_of_pictures,
    parts,
    picture,
    problem,
    snapshot,
)


@pytest.mark.parametrize("item_id", ["a/b", "zoë 👗", "100%", "../x", "items", "a b"])
def test_odd_ids_are_items_like_others(client: TestClient, item_id: str) -> None:
    """As users' are: percent-encoded, slashes too."""
    path = f"/v1/items/{quote(item_id, safe='')}"

    made = client.put(path, json=BODY)
    client.patch(path, json={"hidden": True})

    assert (made.status_code, made.json()["item_id"]) == (201, item_id)
    assert client.get(path).json()["hidden"]
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize("item_id", ["", "x" * 257, "%00", "%20a", "%E2%80%AE"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_id_that_cannot_be_one_is_refused(client: TestClient, method: str, item_id: str) -> None:
    """1 to 256 printable characters."""
    body = {"PUT": BODY, "PATCH": {"hidden": True}}.get(method)  # None sends none

    answer = client.request(method, f"/v1/items/{item_id}", json=body)

    assert problem(answer, 422, "invalid-request").errors[0].field == "item_id"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"attributes": SAID}, "picture"),
        ({"attributes": SAID, "feature": None}, "picture"),
        ({"attributes": {"colour": "red"}, "feature": FEATURE}, "attributes.colour"),
        ({"attributes": {"item_id": "other"}, "feature": FEATURE}, "attributes.item_id"),
        ({"attributes": {"price": "cheap"}, "feature": FEATURE}, "attributes.price"),
        ({"attributes": {"title": "x" * 17_000}, "feature": FEATURE}, "attributes"),
        ({"attributes": [], "feature": FEATURE}, "attributes"),
        ({"attributes": SAID, "feature": FEATURE[:-1]}, "feature"),
        ({"attributes": SAID, "feature": []}, "feature"),
        ({"attributes": SAID, "feature": [1e39] * FEATURES}, "feature"),
        ({"attributes": SAID, "feature": [3e38] * FEATURES}, "feature"),
        ({"attributes": SAID, "feature": ["1"] * FEATURES}, "feature.0"),
        ({"attributes": SAID, "feature": [True] * FEATURES}, "feature.0"),
        ({"attributes": SAID, "feature": [0.0] * 70_000}, "feature"),
        ({"attributes": SAID, "feature": FEATURE, "hidden": True}, "hidden"),
        ([], "body"),
        ("new", "body"),
    ],
)
def test_what_cannot_be_said_is_refused_by_field(client: TestClient, body: object, field: str) -> None:
    """422 naming the field; nothing is stored."""
    answer = client.put(NEW, json=body)

    assert problem(answer, 422, "invalid-request").errors[0].field == field
    assert snapshot(client).version == 0


def test_a_feature_of_another_width_is_told_the_right_one(client: TestClient) -> None:
    """And whose features they are."""
    answer = client.put(NEW, json={"feature": FEATURE[:-1]})

    assert "has 5 numbers; 'random', the backbone of this bundle, makes 6" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b'{"feature": [NaN]}', b'{"feature": [1e999]}', b'{"attributes": {"price": NaN}}'])
def test_json_that_is_no_number_is_refused(client: TestClient, body: bytes) -> None:
    """NaN and infinity never come into the catalogue."""
    answer = client.put(TRAINED, content=body, headers={"content-type": "application/json"})

    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("body", [{}, {"hidden": "yes"}, {"hidden": 1}, {"hidden": None}, {"hidden": True, "x": 1}, []])
def test_a_change_says_hidden_and_nothing_else(client: TestClient, body: object) -> None:
    """Taken at its word: "yes" is no truth value."""
    problem(client.patch(TRAINED, json=body), 422, "invalid-request")


def test_a_picture_places_an_item(start: Start) -> None:
    """By the feature that the backbone makes of it; metadata comes beside it."""
    bundle, data = bundle_of_pictures(), picture()
    client = start(bundle)

    answer = client.put(NEW, **parts(data=data))

    backbone = load_backbone(LITE0)
    feature = backbone.features([decode_picture(data, "the picture")])[0]
    assert (answer.status_code, answer.json()["attributes"]["title"]) == (201, "Linen coat")
    cold = snapshot(client).cold
    assert cold is not None
    torch.testing.assert_close(cold.e[0], bundle.visual.place(feature)[0])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (parts(data=b"no picture"), "picture"),
        (parts(data=picture()[:300]), "picture"),
        (parts(data=picture("TIFF")), "picture"),
        (parts(data=b""), "picture"),
        (parts(), "picture"),
        (parts({"attributes": {"price": "1"}}, picture()), "attributes.price"),
        (parts({"attributes": 7}, picture()), "metadata.attributes"),
        (parts({"feature": FEATURE}, picture()), "metadata.feature"),
        (parts([], picture()), "metadata"),
        ({"files": {"picture": ("a.png", picture())}}, "metadata"),
        ({"files": {"metadata": (None, "{}"), "pictures": ("a.png", picture())}}, "pictures"),
    ],
)
def test_a_form_that_cannot_be_taken_is_refused_by_part(start: Start, body: dict[str, Any], field: str) -> None:
    """What is no picture, metadata of another form, parts that nobody asked for."""
    answer = start(bundle_of_pictures()).put(NEW, **body)

    assert problem(answer, 422, "invalid-request").errors[0].field == field


def test_a_bundle_without_a_backbone_says_to_send_the_feature(client: TestClient) -> None:
    """Its features came as a file."""
    answer = client.put(NEW, **parts(data=picture()))

    assert "send the feature itself" in problem(answer, 422, "invalid-request").detail


FORM = b'--x\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{}\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("content", "declared", "status"),
    [
        (FORM, "multipart/form-data; boundary=x", 200),
        (FORM.replace(b"; name=", b"; nom="), "multipart/form-data; boundary=x", 400),
        (FORM.replace(b"--x--\r\n", FORM), "multipart/form-data; boundary=x", 400),
        (FORM[:-10], "multipart/form-data; boundary=x", 400),
        (FORM, "multipart/form-data; boundary=y", 400),
        (FORM, "multipart/form-data", 400),
        (b"", "multipart/form-data; boundary=x", 400),
        (FORM.replace(b"{}", b"{"), "multipart/form-data; boundary=x", 400),
        (FORM.replace(b"{}", b"\xff"), "multipart/form-data; boundary=x", 400),
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (picture(), "image/png", 415),
        (b"{}", "", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_told_so(client: TestClient, content: bytes, declared: str, status: int) -> None:
    """400 for what is not what it is declared as, 415 for what is declared as something else."""
    answer = client.put(TRAINED, content=content, headers={"content-type": declared})

    if status == 200:
        assert answer.status_code == 200
    else:
        problem(answer, status, "unreadable-body" if status == 400 else "unsupported-media-type")


def test_the_documentation_shows_what_can_be_sent(client: TestClient) -> None:
    """Every status with an example of its shape, every field with a description; examples are taken."""
    documented = client.get("/openapi.json").json()
    operations = documented["paths"]["/v1/items/{item_id}"]

    assert {method: set(operation["responses"]) for method, operation in operations.items()} == {
        "get": {"200", "404", "422", "503"},
        "put": {"200", "201", "400", "409", "413", "415", "422", "503"},
        "patch": {"200", "400", "404", "413", "415", "422", "503"},
        "delete": {"204", "404", "422", "503"},
    }
    assert set(operations["put"]["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    ItemAnswer.model_validate(operations["get"]["responses"]["200"]["content"]["application/json"]["example"])
    for model in (ItemBody, ItemChange):
        schema = model.model_json_schema()
        assert all(field.get("description") for field in schema["properties"].values())
        model.model_validate(schema["examples"][0])
