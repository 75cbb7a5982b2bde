"""Checks of orders: hostile repositories and files are refused, and nothing is written outside the clone."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from umgclip.errors import InputError, ParamsError
from umgclip.flows.dvc.handoff import Order
from umgclip.flows.dvc.orders import check_kept, check_remote, checked_files, permitted_repository, without_login
from umgclip.flows.dvc.overrides import overridden
from umgclip.params import parse_sections

PARAMS = Path(__file__).parents[3] / "params.yaml"
POINTER = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  size: 4\n  nfiles: 1\n  hash: md5\n  path: data\n"
LOCK = "schema: '2.0'\nstages: {}\n"
NAMES = (
    "", ".", "..", "/etc/passwd", "../x", "a/../../x", "./dvc.lock", "a//b", "a/", "~/.ssh/config", "\x00", "a\nb",
    ".git/hooks/post-checkout", ".GIT/config", ".git ", ".git./config", "git~1/config", "sub/.git/config", ".git:x",
    ".dvc/config", ".dvc/config.local", ".DVC/config", "..\\x", "C:/x", "away/x", "away.dvc", "dvc.yaml", "params.yaml",
    "flows/remote.py", "sitecustomize.py", "torch/__init__.py", "torch.dvc", ".github/workflows/x.yml",
    ".gitattributes", "metrics/x.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder like a clone, with links that lead outside."""
    root = tmp_path_factory.mktemp("place") / "clone"
    (root / ".git").mkdir(parents=True)
    (root.parent / "outside").mkdir()
    (root / "away").symlink_to("../outside")
    (root / "away.dvc").symlink_to("../outside/x")
    (root / "data.dvc").write_text(POINTER)
    return root


def test_files_by_which_dvc_knows_data_may_come(clone: Path):
    other = POINTER.replace("0123", "9876").replace("size: 4", "size: 5").replace("nfiles: 1", "nfiles: 2")

    known, rest = checked_files(clone, {"dvc.lock": LOCK, "data.dvc": other, "metrics/x.json": "{}"})

    assert (known, rest) == ({"dvc.lock": LOCK, "data.dvc": other}, {"metrics/x.json": "{}"})
    check_kept(rest, ["metrics/x.json", "metrics/y.json"])


@pytest.mark.parametrize("name", NAMES)
def test_no_other_file_may(clone: Path, name: str):
    with pytest.raises(InputError, match=r"^order.files: .*: expected .*, got "):
        check_kept(checked_files(clone, {name: "x: 1\n"})[1], [])


@pytest.mark.parametrize(
    "text",
    [
        POINTER.replace("path: data", "path: ../data"),
        POINTER.replace("path: data", "path: flows"),
        POINTER.replace("path: data", "path: /root"),
        POINTER + "- md5: 0123456789abcdef0123456789abcdef\n  path: more\n",
        POINTER + "cmd: touch /tmp/x\n",
        POINTER + "wdir: ..\n",
        POINTER + "deps:\n- path: https://evil.example/x\n",
        POINTER + "frozen: true\n",
        POINTER.replace("0123456789abcdef0123456789abcdef.dir", "../../x"),
        POINTER.replace("size: 4", "size: [4]"),
        POINTER.replace("  path: data", "  path: data\n  remote: evil"),
        "outs: data\n",
        "outs: [data]\n",
        "- outs\n",
        "",
        "a: &a [x]\nb: [*a, *a]\n",
        "outs: !!python/object/apply:os.system [ls]\n",
        "{" * 5000,
    ],
)
def test_a_pointer_keeps_its_outputs_and_knows_no_commands(clone: Path, text: str):
    with pytest.raises(InputError, match=r"^order.files: 'data.dvc': expected "):
        checked_files(clone, {"data.dvc": text})


@pytest.mark.parametrize("text", ["[]", "x", "stages: [a]", "\t", "a: &a {x: 1}\nb: *a\n", "x" * (2**22 + 1)])
def test_a_lock_is_one(clone: Path, text: str):
    with pytest.raises(InputError, match=r"^order.files: 'dvc.lock': expected "):
        checked_files(clone, {"dvc.lock": text})


PIECES = st.one_of(
    st.sampled_from(NAMES), st.sampled_from(["..", ".git", "data.dvc", "/", "%2e%2e"]), st.text(max_size=8)
)
PATHS = st.lists(PIECES, min_size=1, max_size=4).map("/".join)


TEXTS = st.one_of(st.just(POINTER), st.text(max_size=60), st.text("{}[]&*:-!, \n", max_size=60))


@settings(max_examples=200, deadline=None)
@given(name=PATHS, text=TEXTS)
def test_whatever_is_asked_for_it_is_refused_or_lies_inside(clone: Path, name: str, text: str):
    _refused_or_inside(clone, name, text)


@pytest.mark.heavy
@settings(max_examples=10_000, deadline=None)
@given(name=PATHS, text=TEXTS)
def test_whatever_is_asked_for_it_is_refused_or_lies_inside_for_long(clone: Path, name: str, text: str):
    _refused_or_inside(clone, name, text)


def _refused_or_inside(clone: Path, name: str, text: str) -> None:
    try:
        known, rest = checked_files(clone, {name: text})
    except InputError:
        return
    assert set(known) <= {"dvc.lock", "data.dvc"}
    for path in (*known, *rest):
        where = (clone / path).resolve().relative_to(clone.resolve())
        assert not {".git", ".dvc"} & {part.lower() for part in where.parts}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the checkout in which a worker runs."""
    root = tmp_path / "checkout"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("UMGCLIP_REPOSITORIES", raising=False)
    return root


def origin(root: Path, url: str) -> None:
    subprocess.run(["git", "-C", str(root), "remote", "add", "origin", url], check=True)


def test_a_worker_clones_where_its_code_comes_from(source: Path):
    assert permitted_repository(str(source)) == str(source)
    assert permitted_repository(f"{source.as_uri()}/") == str(source)
    origin(source, "https://me:token@host/team/repo.git")
    # the login is the worker's own, and none of the order's
    for asked in ("https://host/team/repo", "https://host/team/repo.git", "https://else:x@host/team/repo"):
        assert permitted_repository(asked) == "https://me:token@host/team/repo.git"


def test_a_list_says_which_repositories_and_no_others(source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UMGCLIP_REPOSITORIES", "git@host:team/one, https://host/two")
    assert permitted_repository("git@host:team/one.git") == "git@host:team/one"
    with pytest.raises(
        InputError, match=r"order.repo: expected .* \(UMGCLIP_REPOSITORIES: git@host:team/one, https://"
    ):
        permitted_repository(str(source))


@pytest.mark.parametrize(
    "repo",
    [
        "https://evil.example/team/repo", "https://host.evil.example/team/repo", "https://host@evil.example/team/repo",
        "http://host/team/repo", "https://host/team/repo/../evil", "https://host/team/repo?x", "https://host:444/team/repo",
        "ext::sh -c touch% /tmp/x", "--upload-pack=touch /tmp/x", "file:///etc", "/", "..", " ", "git@evil:team/repo",
        "https://host/team/repo\n--config=x", "/\x00",
    ],
)  # fmt: skip
def test_other_repositories_are_refused(source: Path, repo: str):
    origin(source, "https://me:token@host/team/repo.git")
    with pytest.raises(InputError, match=r"^order.repo: expected a repository that this worker may clone") as refused:
        permitted_repository(repo)
    assert "token" not in str(refused.value)


def test_results_go_where_the_worker_sends_them():
    check_remote("s3://bucket/dvc/", "s3://bucket/dvc")
    check_remote("s3://bucket/dvc", None)
    with pytest.raises(
        InputError, match=r"order.remote_url: expected this worker's remote \(UMGCLIP_REMOTE_URL: s3://b"
    ):
        check_remote("s3://evil/dvc", "s3://bucket/dvc")


def test_logins_of_https_are_taken_off_and_accounts_of_ssh_stay():
    assert without_login("https://user:token@host/repo.git") == "https://host/repo.git"
    assert without_login("https://host/a@b") == "https://host/a@b"
    assert without_login("ssh://git@host/repo") == "ssh://git@host/repo"
    assert without_login("git@host:repo") == "git@host:repo"


@pytest.mark.parametrize(
    "wrong",
    [
        {"commit": "HEAD"}, {"commit": "0" * 40 + "\n"}, {"commit": "--force"}, {"remote": 'x"] [core'}, {"remote": ""},
        {"remote_url": "s3://b\nendpointurl = http://evil"}, {"remote_url": ""}, {"trial": "../x"}, {"trial": "-q"},
        {"parent_run": "a b"}, {"timeout_s": float("inf")}, {"timeout_s": -1}, {"files": {"dvc.lock": 1}}, {"repo": ""},
        {"hooks": "x"},
    ],
)  # fmt: skip
def test_an_order_has_a_form(wrong: dict):
    good = {"repo": "r", "commit": "0" * 40, "stage": "train", "remote_url": "s3://bucket/dvc"}
    assert Order.model_validate(good).commit == "0" * 40
    with pytest.raises(ValidationError):
        Order.model_validate({**good, **wrong})


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
KNOWN = ["train.lora.rank", "train.steps", "base.model", "register.gates.floors.x", "train", "", ".", "a.b"]
KEYS = st.one_of(st.sampled_from(KNOWN), st.text(max_size=20))


OVERRIDES = st.dictionaries(KEYS, VALUES, max_size=3)


@settings(max_examples=25, deadline=None)
@given(overrides=OVERRIDES)
def test_overrides_are_refused_by_name_or_give_params_that_hold(overrides: dict):
    _refused_or_held(overrides)


@pytest.mark.heavy
@settings(max_examples=800, deadline=None)
@given(overrides=OVERRIDES)
def test_overrides_are_refused_by_name_or_give_params_that_hold_for_long(overrides: dict):
    _refused_or_held(overrides)


def _refused_or_held(overrides: dict) -> None:
    try:
        text = overridden(PARAMS, overrides)
    except ParamsError:
        return
    parse_sections(YAML(typ="safe").load(text), PARAMS)
