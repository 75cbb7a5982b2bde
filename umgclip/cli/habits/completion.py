"""Completion in bash, zsh and fish: commands, options, keys and values for `--set`, recipes, dataset folders.

The shell calls `umgclip` with `_UMGCLIP_COMPLETE=complete_fish` and the line so far, and gets one candidate a line,
with its help after a tab: fish's form, which the scripts of all three shells read. Nothing heavy is imported for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from umgclip.errors import InputError, OutputError
from umgclip.suggestions import did_you_mean

SHELL = "UMGCLIP_SHELL"
_MANIFEST = "manifest.json"
# a wide terminal, since Typer would break the help into lines
_ASK = 'COLUMNS=9999 _UMGCLIP_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line"'
# bash counts `=` and `:` as ends of words, so what is before the last of them in the word is taken off each candidate
_BASH = f"""_umgclip_completion() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" word before one
    word="${{line##*[[:space:]]}}"
    before="${{word%"${{word##*[=:]}}"}}"
    COMPREPLY=()
    while IFS=$'\\t' read -r one _; do
        [[ -n "$one" ]] && COMPREPLY+=("${{one#"$before"}}")
    done < <(env {_ASK} umgclip 2>/dev/null)
    if [[ ${{#COMPREPLY[@]}} -eq 1 && "${{COMPREPLY[0]}}" == *[=./] ]]; then compopt -o nospace; fi
}}
complete -o default -F _umgclip_completion umgclip
"""
_ZSH = f"""#compdef umgclip
_umgclip_completion() {{
    local line="${{(j: :)words[1,CURRENT-1]}} $words[CURRENT]" one
    local -a whole open
    for one in "${{(@f)$(env {_ASK} umgclip 2>/dev/null)}}"; do
        [[ -z "$one" ]] && continue
        local value="${{one%%$'\\t'*}}" help=""
        [[ "$one" == *$'\\t'* ]] && help=":${{one#*$'\\t'}}"
        value="${{value//:/\\\\:}}"
        if [[ "$value" == *[=./] ]]; then open+=("$value$help"); else whole+=("$value$help"); fi
    done
    if (( ! $#whole && ! $#open )); then _files; return; fi
    (( $#whole )) && _describe -t umgclip umgclip whole
    (( $#open )) && _describe -t umgclip-open umgclip open -S ''
    return 0
}}
compdef _umgclip_completion umgclip
"""
_FISH_ASK = (
    "env COLUMNS=9999 _UMGCLIP_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION={} "
    "_TYPER_COMPLETE_ARGS=(commandline -cp) umgclip"
)
_FISH = (
    f'complete --command umgclip --no-files --arguments "({_FISH_ASK.format("get-args")})" '
    f'--condition "{_FISH_ASK.format("is-args")}"\n'
)
SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def assignments(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield keys for `--set`, a level at a time, and behind `=` the values that the key lists, with their help."""
    from umgclip.params import SECTIONS
    from umgclip.params.overrides import choices_of, keys

    fields = dict(keys(SECTIONS))
    key, equals, _ = incomplete.partition("=")
    if equals:
        if key in fields:
            yield from ((f"{key}={value}", "") for value in dict.fromkeys(choices_of(fields[key].annotation)))
        return
    candidates: dict[str, str] = {}
    for name, field in fields.items():
        if name.startswith(incomplete):
            level, dot, _ = name[len(incomplete) :].partition(".")
            end = f"{incomplete}{level}"
            candidates.setdefault(f"{end}." if dot else f"{end}=", "" if dot else field.description or "")
    yield from candidates.items()


def recipes(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the names of recipes that begin so, with what each is for."""
    from umgclip.recipes import reading

    for name in reading.names():
        if name.startswith(incomplete):
            yield name, reading.load(name).facts.title


def datasets(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield folders that begin so: datasets, folders of datasets, and others, which end in `/`."""
    if "://" in incomplete:
        return
    parent = Path(incomplete or ".").expanduser()
    shown = incomplete.rpartition("/")[0] + "/" if "/" in incomplete else ""
    parent = parent if incomplete.endswith("/") or not incomplete else parent.parent
    try:
        entries = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir() and entry.name[0] != ".")
    except OSError:
        return
    for name in entries:
        if not f"{shown}{name}".startswith(incomplete):
            continue
        folder = parent / name
        if (folder / _MANIFEST).is_file():
            yield f"{shown}{name}", "dataset"
        elif next(folder.glob(f"*/{_MANIFEST}"), None) is not None:
            yield f"{shown}{name}", "folder of datasets"
            yield f"{shown}{name}/", ""
        else:
            yield f"{shown}{name}/", ""


def shell_name() -> str:
    """Return the shell of the user: by `UMGCLIP_SHELL`, else the one that called, else `SHELL`.

    Raises:
        InputError: it is none of bash, zsh and fish.
    """
    name = os.environ.get(SHELL, "").strip()
    if not name:
        import shellingham  # type: ignore[import-untyped]

        try:
            name = shellingham.detect_shell()[0]
        except (shellingham.ShellDetectionFailure, OSError):
            name = Path(os.environ.get("SHELL", "")).name
    if name not in SCRIPTS:
        raise InputError(
            f"completion: expected bash, zsh or fish, got {name or 'no shell'!r}{did_you_mean(name, SCRIPTS)}; "
            f"name the shell, as in {SHELL}=bash umgclip --show-completion"
        )
    return name


def install(shell: str, home: Path) -> list[Path]:
    """Write a shell's script below the home folder, and have the shell read it; return the files that hold them.

    Doing so again changes nothing but the script.

    Raises:
        OutputError: a file cannot be written.
    """
    places = {
        "bash": (home / ".bash_completions" / "umgclip.sh", home / ".bashrc", "source ~/.bash_completions/umgclip.sh"),
        "zsh": (
            home / ".zfunc" / "_umgclip",
            Path(os.environ.get("ZDOTDIR") or home) / ".zshrc",
            "fpath+=~/.zfunc; autoload -Uz compinit; compinit",
        ),
        "fish": (home / ".config" / "fish" / "completions" / "umgclip.fish", None, ""),
    }
    script, settings, line = places[shell]
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(SCRIPTS[shell], encoding="utf-8")
        if settings is None:
            return [script]
        text = settings.read_text(encoding="utf-8") if settings.is_file() else ""
        if line not in text.splitlines():
            with settings.open("a", encoding="utf-8") as handle:
                handle.write(f"{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n")
    except OSError as error:
        raise OutputError(f"completion: cannot write {error.filename}: {error.strerror}") from error
    return [script, settings]


def _install(wanted: bool) -> bool:
    if wanted:
        shell = shell_name()
        files = install(shell, Path.home())
        typer.echo(f"completion for {shell}: {' and '.join(map(str, files))}; it works in the next shell")
        raise typer.Exit
    return wanted


def _show(wanted: bool) -> bool:
    if wanted:
        typer.echo(SCRIPTS[shell_name()], nl=False)
        raise typer.Exit
    return wanted


@cache
def completion_options() -> tuple[Any, ...]:
    """Return the options `--install-completion` and `--show-completion` as Typer makes them."""

    def options(
        install_completion: Annotated[
            bool,
            typer.Option(
                "--install-completion", callback=_install, is_eager=True, expose_value=False,
                help="install completion for the shell in use: bash, zsh or fish",
            ),
        ] = False,
        show_completion: Annotated[
            bool,
            typer.Option(
                "--show-completion", callback=_show, is_eager=True, expose_value=False,
                help="print the script of that completion",
            ),
        ] = False,
    ) -> None:  # fmt: skip
        pass

    app = typer.Typer()  # its own completion makes Typer answer shells; the options of that come last
    app.command()(options)
    return tuple(typer.main.get_command(app).params[:2])
