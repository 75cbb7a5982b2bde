"""Check before the work begins that some training image can get a word at all."""

from __future__ import annotations

from umgclip.annotate.cache.identity import model_kind, queries_of
from umgclip.annotate.catalog import CATALOG
from umgclip.annotate.vocabulary import Names
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.params import AnnotateParams

_SPEAKING_ROLES = ("proposer", "region_tagger", "region_captioner", "tagger", "captioner")


def require_words(params: AnnotateParams, vocabulary: Vocabulary, names: Names) -> None:
    """Check that images have words, or that some role can give them words.

    Without captions, images that came with tags or regions get regions alone, since the teacher names only concepts of
    captions.

    Args:
        params: the section `annotate`.
        vocabulary: concepts of the captions and of `rules.vocabulary`.
        names: names in the training shards.

    Raises:
        DataError: no training image has a caption, a tag or a labelled region, and no role can give one.
    """
    if names.chunks.captions or names.given.things or names.given.stuff or _speaks(params, vocabulary):
        return
    raise DataError(
        "annotate: no training image has a caption, a tag or a labelled region, and clip_teacher names only what "
        "captions name, so no image would get a word. Import them with captions (`umgclip data import folder ... "
        "--captions FILE`) or labels; or let annotate.roles.captioner name a model that describes images, or "
        "annotate.roles.tagger one of kind clip with concepts as annotate.rules.vocabulary (`umgclip annotate "
        "--vocabulary FILE`); docs/annotators.md"
    )


def note(vocabulary: Vocabulary, names: Names) -> str | None:
    """Return the summary's remark that the teacher has nothing to name; None: it has concepts."""
    if not names.chunks.captions:
        return "none: the training images have no captions; what the teacher adds are regions without words"
    return None if vocabulary.concepts else "empty: what the teacher adds are regions without words"


def _speaks(params: AnnotateParams, vocabulary: Vocabulary) -> bool:
    """Return whether some role can name things in an image without a caption."""
    words = ("any", "vocabulary") if vocabulary.concepts else ("any",)
    return any(
        CATALOG[kind].words_in(role, queries_of(params, name)) in words
        for role in _SPEAKING_ROLES
        for name in params.roles.of(role)
        if (kind := model_kind(params, name)) in CATALOG  # `none` and `given` have no row
    )
