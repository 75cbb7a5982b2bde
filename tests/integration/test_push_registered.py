"""`umgclip push` of a version of the registry: the hub gets the model that was registered, with its prompt."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import umgclip
from tests.unit.inference.hub.conftest import client, hub  # noqa: F401 - fixtures
from umgclip.__main__ import app

REPO = "alice/registered"


@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")
@pytest.mark.parametrize("address", ["models:/umgclip/1", "models:/umgclip@challenger"])
def test_a_registered_version_is_pushed_by_its_address(workspace, hub, client, monkeypatch, address):  # noqa: F811
    workspace.register(workspace.params.model_copy(update={"template": "a photo of {a} {}", "box_share": 0.5}))
    monkeypatch.chdir(workspace.root)
    done = CliRunner().invoke(app, ["push", REPO, "--model", address, "--no-transformers"])
    assert done.exit_code == 0, done.output + str(done.exception)
    registered = umgclip.load(address, device="cpu")
    pushed = umgclip.load(f"hf-hub:{REPO}", device="cpu")
    assert (pushed.template, pushed.box_share) == ("a photo of {a} {}", 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    wanted = registered.classify(pixels, ["dog", "apple"], boxes_xyxy=[[4, 4, 40, 40]])
    assert np.abs(pushed.classify(pixels, ["dog", "apple"], boxes_xyxy=[[4, 4, 40, 40]]) - wanted).max() <= 1e-5
    card = hub.files(REPO)["README.md"].decode()
    assert "umgclip" in card
    assert str(workspace.root) not in card, "no path of this machine leaves it"
