"""Build the site from the whole repository, so that links between its Markdown files work here as they do there.

MkDocs reads `docs/`. These hooks give every page the path that it has in the repository (`docs/data.md`), add the
pages of the navigation that lie elsewhere, and copy the images and other files that pages link to.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each pattern in the navigation by the pages that it matches."""
    config.nav = expand(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the pages under their paths in the repository, with the other files that they link to."""
    from mkdocs.structure.files import File, Files

    theme = [each for each in files if each.src_dir != config.docs_dir]
    pages = {f"docs/{each.src_uri}" for each in files.documentation_pages()}
    pages |= {
        path
        for path in [*listed(config.nav), *config.extra_css, *map(str, config.extra_javascript)]
        if (ROOT / path).is_file()
    }
    paths = sorted(pages | linked(pages))
    return Files([*theme, *(File(path, str(ROOT), config.site_dir, config.use_directory_urls) for path in paths)])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page with the list of all commands where it asks for it."""
    del page, config, files  # MkDocs gives them by name
    commands = _commands()
    return markdown if commands.MARK not in markdown else markdown.replace(commands.MARK, commands.reference())


def _commands() -> Any:  # noqa: ANN401 - a module beside this one, which is no package
    spec = importlib.util.spec_from_file_location("site_commands", Path(__file__).with_name("commands.py"))
    if spec is None or spec.loader is None:
        raise ImportError("expected commands.py beside hooks.py, found none")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expand(nav: list[Any]) -> list[Any]:
    """Return a navigation in which each pattern (`docs/decisions/*.md`) is replaced by the paths that it matches.

    The README of a folder comes first. A group without pages is left out.
    """
    expanded: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            groups = {title: expand(value) if isinstance(value, list) else value for title, value in entry.items()}
            expanded += [{title: value} for title, value in groups.items() if value]
        elif "*" in entry:
            paths = sorted(ROOT.glob(entry), key=lambda path: (path.parent, path.name != "README.md", path.name))
            expanded += [path.relative_to(ROOT).as_posix() for path in paths]
        else:
            expanded.append(entry)
    return expanded


def listed(nav: list[Any]) -> list[str]:
    """Return the paths of an expanded navigation, in its order."""
    paths: list[str] = []
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            paths += listed(value) if isinstance(value, list) else [value]
    return paths


def links(text: str) -> list[str]:
    """Return the relative targets of the links and images of a page, outside code, with their anchors."""
    return [target for target in LINK.findall(CODE.sub("", text)) if not re.match(r"[a-z]+:", target)]


def linked(pages: Iterable[str]) -> set[str]:
    """Return the repository's files, other than Markdown, that these pages link to."""
    files: set[str] = set()
    for page in (ROOT / path for path in pages):
        for target in links(page.read_text(encoding="utf-8")):
            path = page.parent.joinpath(target.partition("#")[0]).resolve()
            if path.is_file() and path.suffix != ".md" and ROOT in path.parents:
                files.add(path.relative_to(ROOT).as_posix())
    return files
