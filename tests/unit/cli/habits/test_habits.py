"""Options that all commands share, their output, and that a new command has them too."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest
import typer

from umgclip.__main__ import app
from umgclip.cli import exits, session
from umgclip.cli.habits import output
from umgclip.cli.habits.panels import PANELS
from umgclip.cli.habits.shared import FILE_ITSELF, NO_RESULT
from umgclip.errors import InputError, UmgclipError
from umgclip.params import overrides
from umgclip.stage import Summary
from umgclip.suggestions import closest

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
CLI = ROOT / "umgclip/cli"
# what may write on stdout by itself: results go through these, and none of them is a table
WRITERS = {
    "umgclip/__main__.py",  # --version
    "umgclip/cli/habits/completion.py",  # scripts for shells
    "umgclip/cli/habits/output.py",
    "umgclip/cli/lines.py",
    "umgclip/cli/terminal.py",
}


def test_every_command_has_the_shared_options(each_command):
    words, command = each_command
    options = {word for parameter in command.params for word in parameter.opts}

    assert {"--quiet", "-q", "--verbose", "-v"} <= options
    assert ("--json" in options) == (words[-1] not in NO_RESULT)
    assert ("--set" in options) == ("--params" in options and words[-1] not in FILE_ITSELF)


def test_every_command_answers_to_h(each_command, run):
    words, _ = each_command
    done = run(*words, "-h")

    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_every_command_is_in_a_panel_of_the_help():
    listed = [name for names in PANELS.values() for name in names]
    commands = typer.main.get_command(app).commands

    assert len(listed) == len(set(listed))
    assert sorted(set(commands) - set(listed)) == [], "name it in umgclip/cli/habits/panels.py"


def _prints(path: Path) -> list[str]:
    """Calls in a file that write on stdout, past the functions that make a document of it."""
    calls = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        as_result = any(keyword.arg == "as_result" for keyword in node.keywords)
        to_stderr = any(keyword.arg == "err" for keyword in node.keywords)
        if (text in ("print", "typer.echo", "sys.stdout.write") and not to_stderr) or (text == "say" and as_result):
            calls.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return calls


def test_results_are_written_by_functions_that_know_json():
    files = [ROOT / "umgclip/__main__.py", *CLI.rglob("*.py")]
    prints = [call for path in files if path.relative_to(ROOT).as_posix() not in WRITERS for call in _prints(path)]

    assert prints == [], "use session.show, terminal.show or terminal.write, which make --json work"


@pytest.fixture
def project(tmp_path, monkeypatch, demo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    (tmp_path / "data").symlink_to(demo)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("report", {"main", "benchmarks", "annotator", "registered"}),
        ("report --all", {"main", "benchmarks", "annotator", "registered"}),
        ("report --markdown", {"main", "benchmarks"}),
        ("report --published", {"same", "other"}),
        ("report --beside metrics/evaluate.json", {"tuned", "may_differ"}),
        ("recipe list", {"recipes"}),
        ("recipe show coco-openai-b16", {"name", "about", "changes"}),
        ("recipe show coco-openai-b16 --complete", {"name", "params"}),
        ("recipe use coco-openai-b16 --params other.yaml", {"recipe", "written", "next"}),
        ("data stats", {"datasets"}),
        ("data verify", {"datasets"}),
        ("data head -n 1", {"samples"}),
        ("data export data/train --to coco --out coco", {"out", "rows"}),
        ("data browse data/train --out gallery", {"out", "rows"}),
        ("doctor --data data", {"ok", "checks"}),
        ("follow", {"added"}),
        ("code --out code", {"digests"}),
    ],
)
def test_json_is_one_document_and_nothing_else(project, run, line, keys):
    plain = run(*line.split())
    shutil.rmtree(project / "gallery", ignore_errors=True)
    (project / "other.yaml").unlink(missing_ok=True)
    done = run(*line.split(), "--json", "--quiet")
    document = json.loads(done.stdout)

    assert done.exit_code == plain.exit_code
    assert line.startswith(document["command"])
    assert keys <= set(document)
    assert "Infinity" not in done.stdout
    assert "NaN" not in done.stdout
    assert done.stderr == ""


def test_results_without_a_document_of_their_own_have_one_of_their_cells(capsys):
    output.reset().as_json = True
    session.show(Summary("one", (("a", "1"),), {"number": 1, "bad": float("nan")}))
    session.show(Summary("two", (("url", "postgresql://user:hunter2@h/db"),)))
    output.write()
    output.reset()
    document = json.loads(capsys.readouterr().out)

    assert document["tables"][0] == {
        "title": "one", "rows": [{"name": "a", "value": "1"}], "number": 1, "bad": None,
    }  # fmt: skip
    assert "hunter2" not in str(document)


def test_an_error_leaves_stdout_empty(project, run):
    done = run("data", "stats", "nowhere", "--json")

    assert done.stdout == ""
    assert isinstance(done.exception, UmgclipError)


def test_quiet_and_verbose_work_before_and_after_the_name(run):
    for line in (("-q", "recipe", "list"), ("recipe", "-q", "list"), ("recipe", "list", "-q")):
        run(*line)
        assert output.current().quiet
    run("-v", "recipe", "list")
    assert output.current().verbose
    assert isinstance(run("-q", "recipe", "list", "-v").exception, InputError)


def test_the_environment_asks_and_an_option_outranks_it(run, monkeypatch):
    monkeypatch.setenv("UMGCLIP_QUIET", "1")
    run("recipe", "list")
    assert output.current().quiet
    run("recipe", "list", "-v")
    assert output.current().verbose


def test_verbose_shows_the_traceback_of_an_error(capsys):
    def fail():
        raise InputError("expected x")

    output.reset()
    output.choose("verbose")
    try:
        assert exits.run(fail, "umgclip train") == 2
    finally:
        output.reset()
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("umgclip train: expected x\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trian", "unknown command 'trian'; did you mean 'train'?"),
        ("data sats", "unknown command 'data sats'; did you mean 'stats'?"),
        ("train --ste 3", "no such option --ste; did you mean '--set'?"),
        ("data export x --to coc --out y", "did you mean 'coco'?"),
        ("recipe show coco-openai-b6", "did you mean 'coco-openai-b16'?"),
        ("train --set train.stepz=1", "unknown key train.stepz; did you mean 'train.steps'?"),
        ("train --set steps=1", "unknown key steps; did you mean 'train.steps' or 'segment.steps'?"),
        ("train --set train=1", "train is a section"),
        ("train --set train.steps", "--set: expected KEY=VALUE"),
        ("train --set train.steps=[1", "not valid YAML"),
        ("train --set train.steps=many", "--set: train.steps: Input should be a valid integer, got 'many'"),
        ("train --set train.adapter=loar", "got 'loar'; did you mean 'lora'?"),
        ("train --set train.steps.now=1", "train.steps is one value and has no keys below it"),
        ("data head -n x", "invalid value for '--count' / '-n'"),
        ("data", None),
        ("predict", "missing"),
    ],
)
def test_wrong_usage_is_one_message_with_the_nearest_name(project, capsys, line, expected):
    code = exits.run(lambda: app(line.split(), prog_name="umgclip", standalone_mode=False), "umgclip")
    told = capsys.readouterr().err

    assert code == 2
    assert "Traceback" not in told
    if expected is not None:
        assert expected in told
        assert told.count("\n") == 1
        assert told.startswith(f"umgclip{_command_of(line)}: ")


def _command_of(line: str) -> str:
    """Words of the command that a line names, as far as there is one."""
    command, words = typer.main.get_command(app), ""
    for word in line.split():
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words += f" {word}"
    return words


@pytest.mark.parametrize("line", ["{} report", "report {}", "--quiet {} report", "{} report --quiet"])
def test_json_stands_before_or_behind_the_name(project, run, line):
    done = run(*line.format("--json").split())

    assert json.loads(done.stdout)["command"] == "report"


@pytest.mark.parametrize("line", ["--json data stats", "data --json stats", "data stats --json"])
def test_json_stands_before_or_behind_each_name_of_a_group(project, run, line):
    assert json.loads(run(*line.split()).stdout)["command"] == "data stats"


@pytest.mark.parametrize(
    "line",
    [
        "--set data.train_scenes=9 --set data.seed=5 data demo",
        "--set data.train_scenes=9 data demo --set data.seed=5",
        "data --set data.seed=5 demo --set data.train_scenes=9",
    ],
)
def test_set_stands_before_or_behind_the_name(project, run, line):
    assert "choose another folder" in str(run(*line.split(), "--out", project).exception)
    assert {one.key: one.value for one in overrides.active()} == {"data.train_scenes": 9, "data.seed": 5}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--json serve", "no such option --json; `umgclip serve -h` shows those of serve"),
        ("--set train.steps=3 data stats", "no such option --set; `umgclip data stats -h` shows those of data stats"),
        ("data --set train.steps=3 stats", "no such option --set; `umgclip data stats -h`"),
        ("--set train.steps=3 follow", "no such option --set; `umgclip follow -h`"),
        ("--set train.stepz=3 train", "unknown key train.stepz; did you mean 'train.steps'?"),
    ],
)
def test_an_option_before_a_command_without_it_is_refused(project, run, line, message):
    assert message in str(run(*line.split()).exception)


def test_the_help_of_all_lists_the_options_of_every_command(run):
    shown = run("-h").stdout

    assert [one for one in ("--quiet", "--verbose", "--json", "--set") if one not in shown] == []


def test_dashes_alone_make_no_option_like_another():
    assert closest("--set", ["--quiet", "--verbose", "-q"]) is None
    assert closest("--quite", ["--quiet", "--verbose", "-q"]) == "--quiet"


def test_a_key_of_the_file_is_suggested_too(project, run):
    (project / "params.yaml").write_text("train: {lora: {rnk: 3}}\n", encoding="utf-8")
    assert "unknown key train.lora.rnk" in str(run("promote").exception)
    assert "did you mean 'rank'?" in str(run("promote").exception)


def test_exit_codes_of_the_page_are_those_of_the_errors():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert codes == {0, exits.INTERRUPTED} | {kind.exit_code for kind in [UmgclipError, *UmgclipError.__subclasses__()]}


def test_the_page_has_the_keys_of_every_command(commands):
    table = PAGE.partition("| command | further keys |")[2].partition("\n\n")[0]
    stages = {(name,) for name in PANELS["Stages"]}
    missing = [
        " ".join(words)
        for words, command in commands.items()
        if words not in stages and words[-1] not in NO_RESULT and not command.hidden
        if f"`{' '.join(words[:2])}`" not in table
    ]
    assert missing == [], "document the keys of its JSON in docs/cli.md"


def test_overrides_do_not_outlive_their_command(project, run):
    run("promote", "--dry-run", "--set", "train.steps=7")
    assert [str(one) for one in overrides.active()] == ["train.steps=7"]
    run("recipe", "list")
    assert overrides.active() == ()


def test_plain_paths_without_a_terminal_and_links_on_one(project, capsys, monkeypatch):
    page = project / "page.html"
    page.write_text("x")
    session.show(Summary("t", (("page", "page.html"), ("none", "other.html"))))
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    session.show(Summary("t", (("page", "page.html"), ("none", "other.html"))))
    shown = capsys.readouterr().out
    assert page.resolve().as_uri() in shown
    assert "other.html\x1b]8" not in shown
