"""The folder of what outlives the process: without it nothing can be promised, so the start says what is wrong."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from causalrec.errors import ConfigError
from service.app import create_app
from service.settings import Settings


@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:1/0"])
def test_a_data_directory_that_cannot_be_made_is_named(
    folders: dict[Form, Path], tmp_path: Path, redis_url: str | None
) -> None:
    """With the embedded Redis and with one that is named: events could not be kept."""
    (tmp_path / "file").write_text("in the way")
    data_dir = tmp_path / "file" / "data"
    settings = Settings.model_validate({"bundle": folders["paper"], "data_dir": data_dir, "redis_url": redis_url})

    with pytest.raises(ConfigError, match="file/data cannot be written"), TestClient(create_app(settings)):
        pass
