"""A PostgreSQL of a checkout: real, on loopback, as an account that it accepts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra import postgres
from infra.processes import Ledger
from tests.infra.conftest import free_ports
from umgclip.errors import InputError

pytestmark = pytest.mark.skipif(
    postgres.find(Path("/tmp"), 1) is None, reason="PostgreSQL is not installed (Debian: apt-get install postgresql)"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Cluster]:
    """Create a new cluster without starting it, and remove its folder at the end."""
    new = postgres.find(tmp_path_factory.mktemp("pg") / "state", free_ports(1)[0])
    assert new is not None
    yield new
    shutil.rmtree(new.folder, ignore_errors=True)


@pytest.mark.heavy
def test_a_cluster_is_made_once_runs_and_gets_its_databases(cluster: postgres.Cluster, tmp_path: Path):
    import psycopg2

    # given a new cluster
    assert cluster.make()
    assert not cluster.make()
    ledger, service = Ledger(tmp_path), cluster.service()

    # when it runs and is asked for databases twice
    record = ledger.start(service, {})
    try:
        ledger.wait(service, record)
        cluster.ensure(("mlflow", "prefect"))
        cluster.ensure(("mlflow", "prefect"))

        # then they are there, on loopback only, behind a password, and not as root
        url = cluster.url("psycopg2", "mlflow").replace("+psycopg2", "")
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT inet_server_addr()::text, current_database()")
            assert cursor.fetchone() == ("127.0.0.1/32", "mlflow")
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(url.replace(cluster.password, "wrong"))
        assert psutil.Process(record.pid).uids().effective != 0
    finally:
        assert ledger.stop(record)


@pytest.mark.heavy
def test_a_dump_of_the_readme_comes_back_in_another_cluster(
    cluster: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory
):
    # given a database with a row, and another cluster, with another password, where that database is empty
    other = postgres.find(tmp_path_factory.mktemp("other") / "state", free_ports(1)[0])
    assert other is not None
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    try:
        for number, one in enumerate((cluster, other)):
            one.make()
            service = replace(one.service(), name=f"postgres-{number}")
            ledger.wait(service, ledger.start(service, {}))
            one.ensure(["mlflow"])
        _sql(cluster, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (7)")
        _sql(other, "CREATE TABLE kept (x int)")

        # when it is dumped there and restored here as the README says
        readme = (Path(__file__).parents[2] / "infra/README.md").read_text(encoding="utf-8")
        dump, restore = (
            next(line.split("postgres ", 1)[1] for line in readme.splitlines() if f" {program} " in line)
            for program in ("pg_dump", "pg_restore")
        )
        content = _program(cluster, dump.split(" > ")[0])
        _program(other, restore.split(" < ")[0], content)

        # then the row is here
        assert _sql(other, "SELECT x FROM kept") == [(7,)]
    finally:
        ledger.stop_all()
        shutil.rmtree(other.folder, ignore_errors=True)


def _program(cluster: postgres.Cluster, command: str, given: bytes = b"") -> bytes:
    words = [word.replace('"$name"', "mlflow") for word in command.split()]
    address = ["--host", "127.0.0.1", "--port", str(cluster.port)]
    done = subprocess.run(
        [cluster.programs / words[0], *address, *words[1:]],
        env={**os.environ, "PGPASSWORD": cluster.password},
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _sql(cluster: postgres.Cluster, statement: str) -> list[tuple[int, ...]]:
    import psycopg2

    url = cluster.url("psycopg2", "mlflow").replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.heavy
def test_programs_of_another_version_are_refused_before_anything_starts(cluster: postgres.Cluster):
    cluster.make()
    version = cluster.folder / "data/PG_VERSION"
    good = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(InputError, match=r"expected the programs of PostgreSQL 9, which created it, found \d+ in"):
            cluster.make()
    finally:
        version.write_text(good)


def test_the_driver_is_named_in_the_url(cluster: postgres.Cluster, tmp_path: Path):
    (tmp_path / "password").write_text("secret\n")
    other = replace(cluster, folder=tmp_path, port=5433)

    assert other.url("asyncpg", "prefect") == "postgresql+asyncpg://umgclip:secret@127.0.0.1:5433/prefect"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to use another account")
def test_root_uses_an_account_that_can_reach_the_folder(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    new = postgres.find(closed / "state", 5433)

    assert new is not None
    assert new.user in ("postgres", "nobody")
    assert new.folder.parent == Path("/var/tmp"), "that account cannot pass through a closed folder"
    assert new.folder == postgres.find(closed / "state", 5433).folder  # type: ignore[union-attr]
