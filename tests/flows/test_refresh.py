"""New raw data under an S3 prefix: imported once, through the stages, the champion left alone."""

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from umgclip.errors import DataError, InputError
from umgclip.flows.refresh import refresh
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.storage import Storage

pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture
def deliver(s3, tmp_path):
    """Put shards and their manifest under the prefix."""

    def put(*contents: bytes) -> str:
        folder = tmp_path / "delivery"
        folder.mkdir(exist_ok=True)
        for number, content in enumerate(contents):
            (folder / f"{number}.tar").write_bytes(content)
        shards = [describe_shard(folder / f"{number}.tar", samples=1) for number in range(len(contents))]
        write_manifest(
            folder, Manifest(made_by=MadeBy(stage="data", params_sha256="0", code_version="0"), shards=shards)
        )
        for path in folder.iterdir():
            Storage().put(path, s3 / f"raw/{path.name}")
        return "s3://bucket/raw"

    return put


@pytest.mark.slow
def test_a_delivery_goes_through_once_and_the_checkout_stays(project, deliver):
    prefix = deliver(b"one", b"two")
    before = project.run("git status --porcelain --ignored")
    done = refresh.fn(prefix)
    assert done["imported"]
    assert project.ran() == ["base", "train", "evaluate", "register"]
    assert project.run("git status --porcelain --ignored") == before
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run = client.get_run(done["mlflow_run"])
    assert (run.info.run_name, run.data.params["overrides.register.promote"]) == ("refresh", "false")
    pointer = Path(client.download_artifacts(run.info.run_id, "dvc")) / "data.dvc"
    assert pointer.read_text() != (project.root / "data.dvc").read_text()
    assert refresh.fn(prefix) == {"imported": False, "mlflow_run": run.info.run_id}
    assert len(project.ran()) == 4
    deliver(b"one", b"two", b"three")
    assert refresh.fn(prefix)["stages"]["base"] == "ran"


def test_it_can_run_here_and_replaces_one_folder_of_the_data(project, deliver):
    refresh.fn(deliver(b"one"), workspace="here")
    assert sorted(path.name for path in (project.root / "data" / "train").iterdir()) == ["0.tar", "manifest.json"]
    assert (project.root / "data" / "raw.txt").read_text() == "raw\n"
    assert "promote: true" in (project.root / "params.yaml").read_text()


def test_a_prefix_without_a_delivery_is_said(project, s3, monkeypatch):
    with pytest.raises(DataError, match=r"s3://bucket/raw/manifest\.json: expected an object there, found none"):
        refresh.fn("s3://bucket/raw")
    with pytest.raises(InputError, match="refresh.prefix or in UMGCLIP_RAW_PREFIX, got none"):
        refresh.fn()
    monkeypatch.setenv("UMGCLIP_RAW_PREFIX", "http://bucket")
    with pytest.raises(InputError, match="expected s3://BUCKET/KEY, got 'http://bucket'"):
        refresh.fn()
    assert project.ran() == []


def test_data_that_is_only_partly_here_is_not_replaced_by_the_part(project, deliver):
    project.run("rm -r data .dvc/cache")
    with pytest.raises(InputError, match=r"/data: expected it here or in DVC's remote"):
        refresh.fn(deliver(b"another"), workspace="here")
