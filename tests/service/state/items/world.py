"""An application of nothing but the items' routes, and what tests say to it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from causalrec.backbone import LITE0, EfficientNetLite0, load_backbone
from causalrec.bundle import Bundle
from causalrec.visual import Scaling
from service import problems
from service.catalogue import Catalogue
from service.items import Items
from service.pictures import Pictures
from service.problem_kinds import MEDIA_TYPE, Problem
from service.routes import items as routes
from service.state.catalogue import CatalogueStore
from service.state.keys import Keys
from tests.bundles import make_bundle
from tests.service.state.servers import Server, connect

NEW, TRAINED = "/v1/items/new", "/v1/items/item-03"
SAID = {"title": "Linen coat", "category": "coat", "price": 89.5}
FEATURE = [0.25, 0.5, 0.75, 1.0, 0.0, 0.5]
BODY = {"attributes": SAID, "feature": FEATURE}
Start = Callable[..., TestClient]


def bundle_of_pictures() -> Bundle:
    """A bundle whose features are of the backbone that comes with the package."""
    bundle, width = make_bundle(items=30), EfficientNetLite0.width
    generator = torch.Generator().manual_seed(0)
    visual = replace(
        bundle.visual,
        backbone=load_backbone(LITE0).identity,
        scaling=Scaling(torch.zeros(width), torch.ones(width)),
        E=torch.rand(width, 8, generator=generator),
    )
    return replace(bundle, visual=visual)


BUNDLE = make_bundle(items=30)


def application(server: Server, bundle: Bundle, keys: Keys, most_items: int) -> FastAPI:
    """What the lead wires, in small: one replica."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        def swap(catalogue: Catalogue) -> None:
            app.state.catalogue = catalogue

        app.state.catalogue = Catalogue.of(bundle)
        pictures = Pictures()
        async with connect(server, keys=keys) as connection:
            store = CatalogueStore(connection, most_items=most_items)
            app.state.items = Items(store, pictures, lambda: app.state.catalogue, swap)
            following = asyncio.create_task(app.state.items.follow())
            await app.state.items.loaded(within=20)
            yield
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        pictures.close()

    app = FastAPI(lifespan=lifespan)
    app.router.routes.extend(routes.router.routes)
    problems.register(app)
    return app


def problem(answer: Response, status: int, kind: str) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found = Problem.model_validate(answer.json())
    assert found.type.endswith(f":{kind}")
    return found


def snapshot(client: TestClient) -> Catalogue:
    found: Catalogue = client.app.state.catalogue  # type: ignore[attr-defined] # of the FastAPI application
    return found


def picture(kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), kind)
    return file.getvalue()


def parts(metadata: object = None, data: bytes | None = None) -> dict[str, Any]:
    """A multipart body."""
    said = json.dumps({"attributes": SAID} if metadata is None else metadata)
    files: dict[str, Any] = {"metadata": (None, said, "application/json")}
    return {"files": files if data is None else files | {"picture": ("coat.png", data, "image/png")}}
