"""Views of Great Expectations' pages that run no scripts but its own.

Its templates print values of the data as they are, so a caption could hold a script. Here the templates escape
everything except their own markup, and each page allows only scripts that carry its nonce, which no data can know.
"""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from great_expectations.render.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from great_expectations.render.view.view import DefaultJinjaView
from jinja2 import BaseLoader, Environment, pass_context
from markupsafe import Markup

MODULE = __name__
# calls of the buttons on its pages; an attribute cannot carry a nonce
_HANDLERS = ("showAllValidations()", "hideSucceededValidations()")
_IMAGES = "https://great-expectations-web-assets.s3.us-east-2.amazonaws.com"


def _policy() -> str:
    hashes = (base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in _HANDLERS)
    handlers = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src 'nonce-{{{{ nonce }}}}' 'unsafe-hashes' {handlers}; "
        f"style-src 'unsafe-inline' https:; font-src https:; img-src data: {_IMAGES}; "
        "base-uri 'none'; form-action 'none'"
    )


class _Loader(BaseLoader):
    """Template loader that adds the page's nonce to scripts, and a policy that requires it."""

    def __init__(self, inner: BaseLoader) -> None:
        self._inner = inner

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, uptodate = self._inner.get_source(environment, template)
        meta = f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        source = source.replace("<script", '<script nonce="{{ nonce }}"').replace("<head>", meta)
        return source, path, uptodate


class _Guarded(DefaultJinjaView):
    """View that lets only the templates' own scripts run."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        super().__init__(**options)
        assert self.env.loader is not None  # noqa: S101 - for the type checker
        self.env.loader = _Loader(self.env.loader)

    def render(self, document: Any, template: str | None = None, **options: Any) -> str:  # noqa: ANN401
        """Render a page with a new nonce."""
        return str(super().render(document, template, nonce=secrets.token_urlsafe(16), **options))


class IndexView(_Guarded, DefaultJinjaIndexPageView):
    """The list of pages: names that this package gives, inside scripts, and no values of the data."""


class PageView(_Guarded, DefaultJinjaPageView):
    """The page of a suite or of a chunk's results; its templates escape, and the filters' output is markup."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        super().__init__(**options)
        self.env.autoescape = True
        for name in ("render_string_template", "render_markdown"):
            self.env.filters[name] = _marked(self.env.filters[name])

    @pass_context
    def render_content_block(  # noqa: PLR0913 - as the base class has it
        self,
        jinja_context: Any,  # noqa: ANN401
        content_block: Any,  # noqa: ANN401
        index: Any = None,  # noqa: ANN401
        content_block_id: str | None = None,
        render_to_markdown: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:  # noqa: ANN401
        """Render a part of a page; texts and numbers in it are not markup."""
        if isinstance(content_block, list):
            parts = [
                self.render_content_block(
                    jinja_context, part, number, f"{content_block_id}-{number}" if content_block_id else None
                )
                if isinstance(part, Mapping) and "content_block_type" in part
                else Markup("<span>{}</span>").format(str(part))
                for number, part in enumerate(content_block)
            ]
            return Markup().join(parts)
        if isinstance(content_block, Mapping) and "content_block_type" in content_block:
            return Markup(  # noqa: S704 - the templates escape
                super().render_content_block(jinja_context, content_block, index, content_block_id, render_to_markdown)
            )
        return "" if content_block is None else content_block

    def render_styling(self, styling: Mapping[str, Any]) -> Markup:
        """Render the attributes of a tag, escaped."""
        return Markup(super().render_styling(_quoted(styling)))  # noqa: S704 - quoted

    def render_styling_from_string_template(self, template: Any) -> Any:  # noqa: ANN401 - as the base class has it
        """Render the attributes of a tag if the template has some."""
        if not isinstance(template, Mapping):
            return template
        return self.render_styling(template["styling"]) if "styling" in template else ""

    def attributes_dict_to_html_string(self, attributes_dict: dict[str, Any], prefix: str = "") -> Markup:
        """Render the attributes of a tag by name, escaped."""
        return Markup(super().attributes_dict_to_html_string(_quoted(attributes_dict), prefix))  # noqa: S704 - quoted


def _marked(made: Callable[..., Any]) -> Callable[..., Any]:
    def marked(value: Any, *more: Any) -> Any:  # noqa: ANN401 - whatever a template passes
        return Markup(made(value, *more)) if isinstance(value, dict | str) else value  # noqa: S704 - escaped below

    return marked


def _quoted(value: Any) -> Any:  # noqa: ANN401 - any part of a document
    """Escape all texts of a value for use in attributes."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _quoted(inner) for name, inner in value.items()}
    return [_quoted(inner) for inner in value] if isinstance(value, list) else value
