"""Whether anything can be said of the training images at all, asked before the work begins."""

from __future__ import annotations

from umgclip.annotate.cache.identity import model_kind
from umgclip.annotate.catalog import CATALOG
from umgclip.annotate.vocabulary import Names
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.params import AnnotateParams

_SPEAKING_ROLES = ("proposer", "region_tagger", "region_captioner", "tagger", "captioner")


def require_words(params: AnnotateParams, vocabulary: Vocabulary, names: Names) -> None:
    """Refuse images of which nothing is known and nothing will be said.

    Without captions, images whose tags or regions came with them are annotated with regions alone: the teacher names
    only what captions name.

    Args:
        params: the section `annotate`.
        vocabulary: concepts of captions, and of `rules.vocabulary`.
        names: what the training shards say.

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
    """What the summary says where the teacher has nothing to name; None: it has."""
    if not names.chunks.captions:
        return "none: the training images have no captions; what the teacher adds are regions without words"
    return None if vocabulary.concepts else "empty: what the teacher adds are regions without words"


def _speaks(params: AnnotateParams, vocabulary: Vocabulary) -> bool:
    """Whether some role can say a word of an image without a caption."""
    words = ("any", "vocabulary") if vocabulary.concepts else ("any",)
    kinds = {model_kind(params, name) for role in _SPEAKING_ROLES for name in params.roles.of(role)}
    return any(CATALOG[kind].words in words for kind in kinds if kind in CATALOG)  # none and given are in no row
