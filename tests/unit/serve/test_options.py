"""`umgclip serve`: what its options and variables become."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from umgclip.__main__ import app as main_app
from umgclip.cli import exits
from umgclip.cli.serving import serve as command
from umgclip.errors import InputError
from umgclip.serve.settings import Batching, Capacity, ModelSelection, RequestLimits, ServeSettings, Timeouts, api_keys

app = typer.Typer()
app.command()(command)


@pytest.fixture
def serve(monkeypatch):
    """Run the command without its server; gives the settings that the server would have got."""
    asked: list[ServeSettings] = []
    monkeypatch.setattr("umgclip.serve.launch.run", lambda settings, root: asked.append(settings))

    def run(*options: str, **variables: str) -> ServeSettings:
        done = CliRunner().invoke(app, list(options), env=variables, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return asked[-1]

    return run


def test_without_options_the_defaults_are_those_of_the_settings(serve):
    assert serve() == ServeSettings()
    assert serve().host == "127.0.0.1"


def test_options_reach_the_settings(serve):
    settings = serve(
        *["--host", "::1", "--port", "0", "--model", "m", "--alias", "a", "--version", "7", "--poll-s", "2"],
        *["--max-batch", "3", "--max-wait-ms", "4", "--queue", "50", "--decoders", "6"],
        *["--max-body-mib", "0.5", "--max-images", "8", "--max-megapixels", "0.25", "--max-labels", "9"],
        *["--max-label-chars", "10", "--max-regions", "11"],
        *["--max-total-megapixels", "18", "--max-total-labels", "19", "--max-answer-numbers", "20"],
        *["--body-timeout-s", "12", "--answer-timeout-s", "13", "--shutdown-s", "14"],
        *["--head-timeout-s", "15", "--send-timeout-s", "16", "--max-connections", "17", "--max-bodies-mib", "1"],
        *["--max-new-labels", "21"],
    )
    assert settings == ServeSettings(
        host="::1",
        port=0,
        selection=ModelSelection("m", "a", "7", 2.0),
        batching=Batching(3, 4.0, 50, 6),
        limits=RequestLimits(524_288, 8, 250_000, 9, 10, 11, 18_000_000, 19, 20),
        timeouts=Timeouts(12.0, 13.0, 14.0, 15.0, 16.0),
        capacity=Capacity(17, 1_048_576, 21),
    )


def test_variables_stand_behind_options(serve):
    variables = {"UMGCLIP_SERVING_MAX_BATCH": "64", "UMGCLIP_SERVING_PORT": "9000"}
    assert serve(**variables).batching.max_images == 64
    assert serve("--port", "9001", **variables).port == 9001


@pytest.mark.parametrize(
    "options",
    [["--port", "65536"], ["--max-batch", "0"], ["--max-megapixels", "500"], ["--poll-s", "0"], ["--version", "x"]],
)
def test_a_value_out_of_range_names_its_option(options):
    done = CliRunner().invoke(app, list(options))
    assert done.exit_code == 2
    assert options[0] in done.output


def test_a_queue_that_a_list_would_not_fit_into_is_refused():
    with pytest.raises(InputError, match="--queue: expected at least --max-images, which is 32, got 8"):
        CliRunner().invoke(app, ["--queue", "8"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-bodies-mib", "8"], "--max-bodies-mib: expected at least --max-body-mib, which is 16, got 8"),
        (["--max-new-labels", "500"], "--max-new-labels: expected at least --max-total-labels, which is 512, got 500"),
        (["--max-labels", "600"], "--max-total-labels: expected at least --max-labels, which is 600, got 512"),
    ],
)
def test_limits_that_a_single_request_would_not_fit_into_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(app, options, catch_exceptions=False)


def test_without_the_extra_its_name_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    command = partial(main_app, ["serve"], prog_name="umgclip", standalone_mode=False)
    assert exits.run(command, "umgclip serve") == InputError.exit_code
    assert 'umgclip serve needs uvicorn; run: pip install "umgclip[serve]"' in capsys.readouterr().err


def test_keys_come_from_the_environment_alone(monkeypatch):
    monkeypatch.delenv("UMGCLIP_API_KEY", raising=False)
    assert api_keys() == ()
    monkeypatch.setenv("UMGCLIP_API_KEY", " one , two,, ")
    assert api_keys() == ("one", "two")
    assert "UMGCLIP_API_KEY" in CliRunner().invoke(app, ["--help"]).output


@pytest.mark.parametrize("given", ["", ",", " , ,"])
def test_a_key_that_would_lock_nothing_is_refused(monkeypatch, given):
    monkeypatch.setenv("UMGCLIP_API_KEY", given)
    with pytest.raises(InputError, match="UMGCLIP_API_KEY: expected a key, or several separated by commas, got"):
        api_keys()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_number_that_is_none_is_refused(value):
    done = CliRunner().invoke(app, ["--poll-s", value], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 2
    assert "Invalid value for '--poll-s'" in done.output
