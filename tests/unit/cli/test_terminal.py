"""Tests that data cannot control the terminal, and that no text is read as markup."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from umgclip.cli import exits, session
from umgclip.cli.doctor.machine import Finding
from umgclip.cli.doctor.machine import show as show_findings
from umgclip.cli.lines import PlainFormatter, say
from umgclip.errors import DataError
from umgclip.stage import Summary

NASTY = "[/b] [red]x[/red] :smile: \x1b[31m\x1b]8;;http://x\x07 \u202egpj.exe \ud83d"
SHOWN = "[/b] [red]x[/red] :smile: \\x1b[31m\\x1b]8;;http://x\\x07 \\u202egpj.exe \\ud83d"


def test_summaries_show_texts_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    session.show(Summary(f"data: {NASTY}", ((NASTY, NASTY), ("lines", "one\ntwo"))))
    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == 3
    assert not set(printed) & set("\x1b\x07\u202e\ud83d")
    assert "one" in printed
    assert "two" in printed


def test_findings_of_the_doctor_too(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    show_findings([Finding("data", NASTY, "mend [/b] it"), Finding("x", "fine")])
    printed = capsys.readouterr().out
    assert SHOWN in printed
    assert "-> mend [/b] it" in printed
    assert "!!" in printed


def test_errors_too(capsys):
    def fail():
        raise DataError(f"{NASTY}.json: expected x")

    assert exits.run(fail, "umgclip data") == DataError.exit_code
    assert capsys.readouterr().err == f"umgclip data: {SHOWN}.json: expected x\n"


def test_logs_too():
    record = logging.LogRecord("lib", logging.WARNING, "x.py", 1, "odd chunk %s", (NASTY,), None)
    assert PlainFormatter("%(name)s: %(message)s").format(record) == f"lib: odd chunk {SHOWN}"


def test_what_a_stream_cannot_write_is_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", stream)
    say("caf\u00e9")
    stream.seek(0)
    assert stream.read() == "caf\\xe9\n"


@pytest.mark.slow
def test_a_class_that_looks_like_markup_goes_the_whole_way(tmp_path):
    from PIL import Image

    def run(*words):
        command = [sys.executable, "-m", "umgclip", *words]
        environment = os.environ | {"COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    (tmp_path / "params.yaml").write_text("data: {imports: {workers: 1}}\n")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.jpg")
    (tmp_path / "i.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg", "width": 32, "height": 32}],
                "annotations": [{"id": "\x1b[2J", "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
                "categories": [{"id": 1, "name": "[/b]\x1b]0;owned\x07 cat"}],
            }
        )
    )
    printed = run("data", "import", "coco", ".", "--instances", "i.json", "--split", "benchmark", "--out", "out")
    printed += run("data", "stats", "out/benchmark") + run("data", "head", "out/benchmark")
    assert printed.count("[/b] ]0;owned cat") >= 3
    assert not set(printed) & set("\x1b\x07")


def test_a_long_word_is_folded_and_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    call = f'open_clip.create_model("local-dir:/{"very/" * 30}long")'
    session.show(Summary("export", (("load with", call),)))
    said = capsys.readouterr().out
    assert "…" not in said
    cells = [line.split("│")[2].strip() for line in said.splitlines() if line.count("│") == 3]
    assert "".join(cells) == call


def test_no_password_of_an_address_is_printed_or_logged(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    url = "postgresql://user:hunter2@127.0.0.1/db"
    say(f"cannot reach {url}")
    show_findings([Finding("MLflow", url, f"correct {url}")])
    session.show(Summary(f"data: {url}", ((url, url),)))
    line = PlainFormatter("%(message)s").format(logging.makeLogRecord({"msg": "asking %s", "args": (url,)}))
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err + line
    assert (printed.out + printed.err + line).count("postgresql://***@127.0.0.1/db") == 7


def test_a_result_for_programs_stays_as_it_is(capsys):
    say('{"image": "https://h/a.jpg?token=1"}', as_result=True)
    assert capsys.readouterr().out == '{"image": "https://h/a.jpg?token=1"}\n'
