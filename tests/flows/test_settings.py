"""The flow settings: typed, closed, and apart from the parameters of the model."""

import pytest

from umgclip.errors import ParamsError
from umgclip.flows.settings import FlowSettings, load_settings


def written(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return load_settings(path)


def test_the_shipped_file_runs_everything_here(monkeypatch):
    monkeypatch.delenv("UMGCLIP_FLOW_SETTINGS", raising=False)
    settings = load_settings()
    assert all(settings.of_stage(name).pool is None for name in settings.stages)
    assert settings.remote.location() is None
    # every key of the models has its line in the file, with the same value as in the code
    assert settings.model_copy(update={"stages": {}}) == FlowSettings()


def test_a_stage_differs_from_the_defaults_only_where_it_says_so(tmp_path):
    settings = written(tmp_path, "defaults: {retries: 5}\nstages: {train: {pool: gpu}}\n")
    assert settings.of_stage("train").pool == "gpu"
    assert settings.of_stage("train").retries == 5
    assert settings.of_stage("base").pool is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: {train: {pol: gpu}}", "unknown key stages.train.pol; expected one of nodes, pool, retries"),
        ("remote: {urls: 1}", "unknown key remote.urls; expected one of name, poll_s, push, repo"),
        ("stage: {}", "unknown key stage; expected one of defaults, promotion, refresh, remote, stages, sweep"),
        ("defaults: {retries: two}", "defaults.retries: Input should be a valid integer, got 'two'"),
        ("defaults: {timeout_s: 0.0}", "defaults.timeout_s: Input should be greater than 0, got 0.0"),
        ("refresh: {prefix: /tmp}", "refresh.prefix: String should match pattern"),
        ("- 1", "expected a mapping of settings, got CommentedSeq|list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message.replace("[", r"\[").replace(".", r"\.")):
        written(tmp_path, text)


def test_a_stage_that_does_not_exist_is_named(tmp_path):
    settings = written(tmp_path, "stages: {trian: {pool: gpu}}")
    with pytest.raises(ParamsError, match=r"stages\.trian: expected one of base, train"):
        settings.check_stages(["base", "train"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{train: {nodes: 2}}", r"stages\.train\.pool: expected a work pool, because nodes is 2, got null"),
        (
            "{base: {nodes: 2, pool: gpu}}",
            r"stages\.base\.nodes: expected 1, because only train supports several nodes, got 2",
        ),
    ],
)
def test_nodes_need_a_pool_and_a_stage_that_can(tmp_path, text, message):
    written(tmp_path, "stages: {train: {nodes: 2, pool: gpu}}").check_stages(["base", "train"])
    with pytest.raises(ParamsError, match=message):
        written(tmp_path, f"stages: {text}").check_stages(["base", "train"])


def test_the_remote_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UMGCLIP_REMOTE_URL", "s3://bucket/dvc")
    assert written(tmp_path, "remote: {}").remote.location() == "s3://bucket/dvc"
    assert written(tmp_path, "remote:\n  url: s3://other\n").remote.location() == "s3://other"
