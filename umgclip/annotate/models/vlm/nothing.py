"""Answers that say in clear sentences that there is nothing: an empty answer, where anything vaguer is none."""

from __future__ import annotations

import re

_LONGEST = 400  # characters; whoever says more says something
_LEAD = re.compile(
    r"(?:(?:sure|sorry|unfortunately|answer|no|okay|ok|after [a-z ]{3,40} the image)\s*[,:!.]\s*)*+", re.IGNORECASE
)
_COURTESY = re.compile(r"(?:please |feel free|let me know|i hope|if you )[^.!?]*+", re.IGNORECASE)
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")
_WORDS = ("none", "nothing", "n/a", "[]", "{}", "null")
# what is not there is none of these: then the sentence says something else
_OTHER = (
    "image|images|picture|pictures|photo|photos|photograph|attachment|file|doubt|question|way|reason|need|problem|"
    "information|idea|answer|text|mistake|mistaking|telling|but|only|except|other|others|else|more|however|besides|"
    "apart|in|on|at|under|near|left|right|behind|because|which|that"
)
# each word ends at a blank or the end, so that there is one way to cut a text into words
_THING = rf"(?:(?!(?:{_OTHER})\b)[^\W\d]++(?:['’-][^\W\d]++)*+,?(?: |$)){{1,12}}"
_SEEN = r"(?:clearly |visibly )?(?:visible|present|shown|depicted|pictured|seen|found|detected|located|there|here)"
_PLACE = (
    r"(?:in|within|of) (?:the|this|that|your)(?: given| provided| whole)? "
    r"(?:image|picture|photo|photograph|scene|frame|view)"
)
_TAIL = rf"(?:\s*+(?:{_SEEN})?(?:\s*+(?:anywhere )?{_PLACE})?)"
_BE = r"(?:is|are|was|were|appears? to be|seems? to be)"
_BE_NOT = r"(?:isn['’]?t|aren['’]?t|wasn['’]?t|weren['’]?t|(?:is|are|was|were) not)"
_SEE_NOT = r"(?:do not|don['’]?t|did not|didn['’]?t|cannot|can not|can['’]?t|could not|couldn['’]?t)"
_SENTENCES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"there {_BE} (?:none|nothing){_TAIL}",
        rf"there {_BE} (?:no|not any|not an?) {_THING}{_TAIL}",
        rf"there {_BE_NOT} (?:any|an?) {_THING}{_TAIL}",
        rf"(?:i|we) {_SEE_NOT} (?:see|find|locate|detect|identify|spot) (?:any|an?) {_THING}{_TAIL}",
        rf"no {_THING}(?:{_BE} |can be |could be )?{_SEEN}(?:\s*+{_PLACE})?",
        rf"no (?:such )?{_THING}{_PLACE}",
        r"no (?:such )?(?:objects?|instances?|box(?:es)?|bounding box(?:es)?|results?|match(?:es)?|detections?|items?)",
        rf"(?:none|nothing)(?: of (?:them|these|those|the) ?(?:{_THING})?)?\s*+(?:(?:{_BE}|can be|could be) )?{_SEEN}"
        rf"(?:\s*+{_PLACE})?",
        rf"(?:the |any |an? |this |it )?(?:{_THING})?{_BE_NOT} (?:{_SEEN}(?:\s*+{_PLACE})?|{_PLACE})",
        rf"this {_BE_NOT} {_PLACE}",
        r"(?:the|this) (?:image|picture|photo|photograph|scene) (?:does not|doesn['’]?t) "
        rf"(?:contain|show|have|include|depict|feature) (?:any|an?|the) {_THING}",
        rf"(?:the|this) (?:image|picture|photo|photograph|scene) (?:contains|shows|has|includes) no {_THING}",
    )
]


def says_none(text: str) -> bool:
    """Check for an answer that says in so many words that there is nothing.

    Each of its sentences must say so, but for a word before them and a courtesy after them. English only.

    Args:
        text: of the answer, without reasoning.
    """
    bare = re.sub(r"```\w*", "", text[: _LONGEST + 1]).strip(" \t\r\n\"'`*")
    if not bare or len(bare) > _LONGEST:
        return False
    sentences = [_bare(_LEAD.sub("", one, count=1)) for one in _ENDS.split(bare)]
    sentences = [one for one in sentences if one]
    telling = [one for one in sentences if not _COURTESY.fullmatch(one)]
    return bool(telling) and all(_one_says_none(one) for one in telling)


def _bare(sentence: str) -> str:
    return " ".join(sentence.split()).strip(" .!\"'`*")


def _one_says_none(sentence: str) -> bool:
    return sentence.casefold() in _WORDS or any(pattern.fullmatch(sentence) for pattern in _SENTENCES)
