"""The login of `make up`: created once, readable by its owner only, refused if others could have read it."""

import stat
from pathlib import Path

import pytest

from infra.login import USERS, login_file, login_of
from umgclip.errors import InputError


def test_a_login_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path):
    made = login_of(tmp_path / "state")

    assert login_of(tmp_path / "state") == made
    assert stat.S_IMODE(login_file(tmp_path / "state").stat().st_mode) == 0o600
    assert len({made.password, made.s3_key, made.s3_secret, made.mlflow_secret}) == 4
    assert len(made.password) >= 32
    assert made.prefect == f"umgclip:{made.password}"
    assert login_of(tmp_path / "other") != made


def test_a_file_that_others_could_have_read_is_refused(tmp_path: Path):
    login_of(tmp_path)
    login_file(tmp_path).chmod(0o640)

    with pytest.raises(InputError, match=r"expected a file that its owner, .*got uid \d+, mode 0640"):
        login_of(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"password": "x"}'])
def test_a_file_that_is_no_login_is_named(tmp_path: Path, text: str):
    login_file(tmp_path).touch(mode=0o600)
    login_file(tmp_path).write_text(text)

    with pytest.raises(InputError, match=r"login.json: expected a login"):
        login_of(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("{}")
    login_file(tmp_path).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputError, match=r"login.json: expected a file, got a link"):
        login_of(tmp_path)


def test_users_of_an_earlier_login_go_with_it(tmp_path: Path):
    (tmp_path / USERS).touch()

    login_of(tmp_path)

    assert not (tmp_path / USERS).exists()
