"""Forms of answers, how each is asked for and read: as JSON, as plain text, or in a grammar of boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from umgclip.annotate.models.vlm.answers import NoAnswerError, shown
from umgclip.annotate.models.vlm.reading import answer_text, candidates

A = TypeVar("A")


@dataclass(frozen=True)
class AnswerForm(Generic[A]):
    """The form of an answer, for a prompt and for a reader.

    Attributes:
        read: reads the content of a message; raises `NoAnswerError`.
        request: what is appended to the prompt.
        response_format: of OpenAI's API, which allows only such an answer; None: the form is no JSON.
        reasoning: whether a message without content is read from its reasoning: always, if that is one line, never.
    """

    read: Callable[[Any], A]
    request: str = ""
    response_format: dict[str, Any] | None = None
    reasoning: Literal["read", "one_line", "refuse"] = "refuse"


def json_form(kind: Any) -> AnswerForm[Any]:  # noqa: ANN401 - one of the answers
    """Return the form of an answer as JSON."""
    schema = response_format(kind.__name__, kind.schema)
    return AnswerForm(lambda content: parse(content, kind), json_request(kind.hint), schema, "read")


def text_form(kind: Any) -> AnswerForm[Any]:  # noqa: ANN401 - one of the answers
    """Return the form of an answer as plain text, or as JSON if the model answers so all the same."""

    def read(content: Any) -> Any:  # noqa: ANN401 - what a server sends
        text = answer_text(content)
        try:
            return parse(content, kind)
        except NoAnswerError:
            if text.startswith(("{", "[", "```json")):  # JSON of another form is no text
                raise
        if not any(letter.isalnum() for letter in text):
            raise NoAnswerError("invalid_answer", f"expected a text, got {shown(content)}")
        return kind.read_text(text)

    return AnswerForm(read)


def response_format(name: str, schema: type[BaseModel]) -> dict[str, Any]:
    """Return the `response_format` of OpenAI's API that allows only answers of a schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema.model_json_schema()}}


def json_request(hint: str) -> str:
    """Return the sentence that asks for JSON like an example."""
    return f"\nAnswer with JSON alone, such as {hint}"


def parse(content: Any, kind: Any) -> Any:  # noqa: ANN401 - what a server sends, and one of the answers
    """Read an answer from the JSON in the content of a message.

    Args:
        content: of the message: a text, parts of a text, or an object.
        kind: the class of the answer, with `read` and `hint`.

    Raises:
        NoAnswerError: the content holds no JSON, or none of this form; the message says where.
    """
    fault = None
    for one in candidates(content):
        try:
            return kind.read(one)
        except NoAnswerError as error:
            fault = fault or error
    raise fault or NoAnswerError("invalid_answer", f"expected JSON such as {kind.hint}, got {shown(content)}")
