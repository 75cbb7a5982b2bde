"""`infra/pools.yaml` and what is refused in it."""

from pathlib import Path

import pytest

from infra.pools import read_pools
from umgclip.errors import InputError

GOOD = """
work_pools:
  cpu: {type: process, description: here}
lost_runs: {silent_s: 540, start_s: 3600}
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "pools.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_is_right_and_has_a_pool_for_every_kind():
    pools = read_pools()

    assert set(pools.of_type("process")) == {"cpu", "gpu"}
    assert {pool.type for pool in pools.work_pools.values()} == {"process", "kubernetes", "ecs"}
    assert pools.lost_runs.silent_s >= 3 * 180, "Prefect sends a heartbeat every 180 s at the slowest"
    assert pools.lost_runs.start_s >= pools.lost_runs.silent_s
    assert set(pools.schedules) == {"refresh/umgclip"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("process", "docker"), r"work_pools.cpu.type: .*got 'docker'"),
        (GOOD.replace("description", "note"), r"work_pools.cpu.description: Field required"),
        (GOOD + "schedules: {x/y: {every: day}}\n", r"schedules.x/y.cron: Field required"),
        (GOOD.replace("540", "1"), r"lost_runs.silent_s: .*greater than or equal to 10, got 1"),
        (GOOD.replace("process", "kubernetes"), r"work_pools.cpu: .*expected one for kubernetes and ecs"),
        (GOOD.replace("here}", "here, template: ecs-gpu.json}"), r"none for process"),
        (
            GOOD.replace("process", "ecs").replace("here}", "here, template: x.json}"),
            r"expected a file in .*got 'x.json'",
        ),
        (GOOD + "limits: {x: 0}\n", r"limits.x: .*greater than 0, got 0"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message):
        read_pools(_file(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"pools.yaml: No such file"):
        read_pools(tmp_path / "pools.yaml")
