"""Three unlike architectures answer over HTTP, as the networks that were trained."""

from __future__ import annotations

import base64
import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from architectures import check_answer, save_image_model, save_text_model, save_timm_model, travel
from waiting import PATH, read_url, run_server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("save", "name", "modality", "size"),
    [
        (save_text_model, "t5", "text", 128),
        (save_image_model, "clip", "image", 64),
        (save_timm_model, "deit", "image", 64),
    ],
    ids=["encoder-decoder", "two towers", "two heads"],
)
def test_a_server_answers_as_the_network_that_was_trained(
    save: Callable[[str, Path], Path],
    name: str,
    modality: str,
    size: int,
    store: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    """A server is another process, whose input is JSON."""
    folder = save(name, tmp_path / "network")
    recipe = {"input_size": size}
    journey = travel(store, namespace, folder, modality, name="network", recipe=recipe)
    values = [
        base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for value in journey.inputs
    ]
    command = ["mlflow", "models", "serve", "-m", str(journey.model), "--env-manager", "local"]

    environment = {**os.environ, "PATH": PATH}

    with run_server(lambda port: [*command, "--port", port], tmp_path, environment) as url:
        request = urllib.request.Request(  # noqa: S310
            f"{url}/invocations",
            data=json.dumps(
                {"dataframe_records": [{modality: value} for value in values]}
            ).encode(),
            headers={"Content-Type": "application/json"},
        )
        answer = pd.DataFrame(json.loads(read_url(request))["predictions"])

    check_answer(answer, journey)
