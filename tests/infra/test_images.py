"""Dockerfiles: what a linter would ask for, and what these three promise. No engine builds them here."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/docker"
FILES = sorted(path.name for path in FOLDER.glob("*.Dockerfile"))
WORKERS = ["cpu.Dockerfile", "cuda.Dockerfile"]
ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.MULTILINE)


def _instructions(name: str) -> list[tuple[str, str]]:
    """Instruction and argument of each line, continuations joined, comments left out."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def _pins(path: Path) -> dict[str, str]:
    return dict(ENTRY.findall(path.read_text(encoding="utf-8")))


def test_there_is_one_for_each_kind_of_machine():
    assert FILES == ["cpu.Dockerfile", "cuda.Dockerfile", "servers.Dockerfile"]


@pytest.mark.parametrize("name", FILES)
def test_bases_are_pinned_by_tag_and_digest(name: str):
    bases = [argument.split()[0] for word, argument in _instructions(name) if word == "FROM"]

    assert bases
    for base in bases:
        assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)


@pytest.mark.parametrize("name", FILES)
def test_it_does_not_run_as_root_and_hands_signals_on(name: str):
    instructions = _instructions(name)
    last_stage = instructions[max(index for index, (word, _) in enumerate(instructions) if word == "FROM") :]
    words = [word for word, _ in last_stage]
    users = [argument for word, argument in last_stage if word == "USER"]

    assert users == ["10001:10001"], "by number: Kubernetes cannot tell of a name that it is not root"
    assert words.index("USER") > max(index for index, word in enumerate(words) if word == "RUN")
    assert ("ENTRYPOINT", '["tini", "--"]') in last_stage


@pytest.mark.parametrize("name", FILES)
def test_what_a_linter_is_told_to_pass_over_it_can_read(name: str):
    """Check that hadolint can parse its ignore comments: codes up to the end of the line, before an instruction."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    asked = [(line, lines[index + 1]) for index, line in enumerate(lines) if "hadolint" in line]

    assert asked
    for line, following in asked:
        assert re.fullmatch(r"# hadolint ignore=(DL|SC)\d{4}(,(DL|SC)\d{4})*", line)
        assert following.startswith("RUN ")


@pytest.mark.parametrize("name", FILES)
def test_packages_come_from_a_lock_by_their_hashes(name: str):
    runs = " ".join(argument for word, argument in _instructions(name) if word == "RUN")

    assert "uv pip sync --require-hashes" in runs
    assert "--no-install-recommends" in runs
    assert "rm -rf /var/lib/apt/lists/*" in runs
    assert re.search(r"pip install --no-cache-dir \"uv==", runs)


@pytest.mark.parametrize("name", FILES)
def test_nothing_secret_and_nothing_of_the_whole_tree_goes_in(name: str):
    instructions = _instructions(name)

    for word, argument in instructions:
        assert word not in ("ADD", "MAINTAINER")
        if word in ("ENV", "ARG"):
            assert not re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY", argument), argument
        if word == "COPY" and "--from=" not in argument:
            *sources, _target = [part for part in argument.split() if not part.startswith("--")]
            for source in sources:
                assert (ROOT / source).is_file(), source


@pytest.mark.parametrize("name", WORKERS)
def test_workers_have_git_and_dvc_and_the_clones_own_code(name: str):
    runs = " ".join(argument for word, argument in _instructions(name) if word == "RUN")

    assert re.search(r"apt-get install [^&]* git ", runs)
    assert {"dvc", "dvc-s3", "prefect", "mlflow"} <= set(_pins(ROOT / "requirements.lock"))
    assert any("infra/docker/umgclip /usr/local/bin/umgclip" in argument for word, argument in _instructions(name))
    # the entry of Kubernetes' jobs, whichever of the two they run
    assert any(
        "infra/docker/umgclip-node /usr/local/bin/umgclip-node" in argument for _, argument in _instructions(name)
    )


def test_the_cpu_image_asks_for_an_index_of_cpu_builds():
    runs = " ".join(argument for word, argument in _instructions("cpu.Dockerfile") if word == "RUN")

    assert "${TORCH_INDEX:?" in runs, "without one the build must stop and say so"


def test_the_build_sees_locks_and_its_own_folder_only():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules == ["*", "!requirements.lock", "!infra/docker"]


def test_the_command_of_the_image_runs_the_package_of_the_folder_it_is_in(tmp_path: Path):
    (tmp_path / "umgclip").mkdir()
    (tmp_path / "umgclip/__init__.py").touch()
    (tmp_path / "umgclip/__main__.py").write_text("import sys; print('mine', sys.argv[1:])", encoding="utf-8")

    done = subprocess.run(
        [FOLDER / "umgclip", "train", "--x=a b"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "mine ['train', '--x=a b']\n"


def test_the_servers_have_the_versions_that_everything_else_is_tested_with():
    servers, everything = _pins(FOLDER / "servers.lock"), _pins(ROOT / "requirements.lock")
    shared = set(servers) & set(everything)

    assert {"prefect", "mlflow", "fastapi", "sqlalchemy", "asyncpg", "psycopg2-binary"} <= shared
    assert {name: servers[name] for name in shared} == {name: everything[name] for name in shared}
    assert {"flask-wtf", "prefect-kubernetes", "prefect-aws"} <= set(servers)
    assert "torch" not in servers


def test_a_lock_is_split_into_hashed_packages_and_builds_of_torch():
    spec = importlib.util.spec_from_file_location("without_torch", FOLDER / "without_torch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = dict(ENTRY.findall(lock))

    common, builds = module.split(lock)

    common_pins, torch = dict(ENTRY.findall(common)), dict(ENTRY.findall(builds))
    dropped = set(pins) - set(common_pins) - set(torch)
    assert set(torch) == {"torch", "torchvision"}
    assert dropped
    assert all(name == "triton" or name.startswith(("nvidia-", "cuda-")) for name in dropped)
    assert common_pins | torch | {name: pins[name] for name in dropped} == pins
    assert common.count("--hash=") == lock.count("--hash=") - _hashes(lock, {*torch, *dropped})
    with pytest.raises(SystemExit, match="expected torch, torchvision in the lock"):
        module.split("numpy==2.0 --hash=sha256:0\n")


def _hashes(lock: str, names: set[str]) -> int:
    starts = list(ENTRY.finditer(lock))
    ends = [*(entry.start() for entry in starts[1:]), len(lock)]
    return sum(
        lock[entry.start() : end].count("--hash=") for entry, end in zip(starts, ends, strict=True) if entry[1] in names
    )
