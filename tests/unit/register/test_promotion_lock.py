"""One at a time: the lock file between processes, the claim between machines."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from umgclip.errors import OutputError, TrackingError
from umgclip.register import promotion_lock
from umgclip.register.promotion_lock import CLAIM_TAG
from umgclip.tracking import Store, store_from_env

HOLD = """
import sys, time
from umgclip.register.promotion_lock import serialised
from umgclip.tracking import Store
with serialised(Store(sys.argv[1], "x", None), "umgclip"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return store_from_env(tmp_path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Store:
    """Return a store with one registered model; without a database path it is locked by a tag, like a server's."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    database.write_bytes(empty_store)
    uri = f"sqlite:///{database}"
    MlflowClient(tracking_uri=uri).create_registered_model("umgclip")
    return Store(uri, "umgclip", None)


def test_the_lock_of_a_sqlite_store_lies_beside_it_and_that_of_a_server_is_ones_own(store, tmp_path):
    assert promotion_lock._lock_path(store, "a") == tmp_path.resolve() / "mlflow.db.promotion-a.lock"
    server = Store("http://127.0.0.1:5000", "umgclip", None)
    assert promotion_lock._lock_path(server, "a") != promotion_lock._lock_path(server, "b")
    assert "umgclip" in promotion_lock._lock_path(server, "a").name


def test_one_process_holds_it_until_it_ends_however_it_ends(store, monkeypatch):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, store.uri], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(promotion_lock, "_WAIT_S", 0.3)
        with (
            pytest.raises(
                TrackingError, match="umgclip: expected other promotions to end within 0 s, but one still holds .*lock"
            ),
            promotion_lock.serialised(store, "umgclip"),
        ):
            pass
        with promotion_lock.serialised(store, "another"):
            pass
    finally:
        holder.kill()
        holder.communicate(timeout=10)
    with promotion_lock.serialised(store, "umgclip"):
        pass


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="mlflow.db.promotion-umgclip.lock"),
        promotion_lock.serialised(Store(f"sqlite:///{tmp_path}/file/mlflow.db", "x", None), "umgclip"),
    ):
        pass


def test_a_claim_is_there_while_it_lasts_and_gone_afterwards(registry, monkeypatch):
    monkeypatch.setattr(promotion_lock, "SETTLE_S", 0.0)
    client = registry.client()
    with promotion_lock._claim(registry, "umgclip"):
        assert CLAIM_TAG in client.get_registered_model("umgclip").tags
    with pytest.raises(ZeroDivisionError), promotion_lock._claim(registry, "umgclip"):
        raise ZeroDivisionError
    assert client.get_registered_model("umgclip").tags == {}


def test_a_claim_of_another_holds_one_back_until_it_is_old(registry, monkeypatch):
    monkeypatch.setattr(promotion_lock, "SETTLE_S", 0.0)
    monkeypatch.setattr(promotion_lock, "_WAIT_S", 0.3)
    client = registry.client()
    client.set_registered_model_tag("umgclip", CLAIM_TAG, f"{time.time():.0f} theirs")
    with pytest.raises(TrackingError, match=f"the tag {CLAIM_TAG} .* shows that one is still running"):  # noqa: SIM117
        with promotion_lock._claim(registry, "umgclip"):
            pass
    client.set_registered_model_tag("umgclip", CLAIM_TAG, f"{time.time() - 121:.0f} theirs")
    with promotion_lock._claim(registry, "umgclip"):
        assert "theirs" not in client.get_registered_model("umgclip").tags[CLAIM_TAG]


def test_a_claim_written_over_is_not_taken_for_ones_own(registry, monkeypatch):
    client = registry.client()
    pauses = []

    def meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:  # another read the free tag before our write, and wrote after it
            client.set_registered_model_tag("umgclip", CLAIM_TAG, f"{time.time():.0f} theirs")
        elif len(pauses) == 3:
            client.delete_registered_model_tag("umgclip", CLAIM_TAG)

    monkeypatch.setattr(promotion_lock.time, "sleep", meanwhile)
    with promotion_lock._claim(registry, "umgclip"):
        assert len(pauses) > 3


def test_claims_of_many_never_overlap(registry):
    inside, most, done = [], [], []

    def work(number: int) -> None:
        with promotion_lock._claim(registry, "umgclip"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [0, 1, 2]
    assert max(most) == 1


def test_a_write_that_loses_to_another_waits_and_tries_again(registry, monkeypatch):
    """Refuse the first write, as a database does when two claims are inserted at the same moment."""
    monkeypatch.setattr(promotion_lock, "SETTLE_S", 0.05)
    client = registry.client()
    refused = []

    def refuse_once(name, key, value):
        if not refused:
            refused.append(value)
            write(name, key, "0 another")  # which is old, and so soon counts as free
            raise MlflowException("UNIQUE constraint failed")
        return write(name, key, value)

    write = client.set_registered_model_tag
    monkeypatch.setattr(client, "set_registered_model_tag", refuse_once)
    monkeypatch.setattr(type(registry), "client", lambda _: client)
    with promotion_lock._claim(registry, "umgclip"):
        assert refused
