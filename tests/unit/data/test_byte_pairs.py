"""Tokens counted without torch are those of open_clip."""

import random
import subprocess
import sys

import pytest

from umgclip.data.byte_pairs import BytePairs
from umgclip.model.clip.tokenizer import byte_pairs

TEXTS = [
    "",
    "  ",
    "a photo of a cat",
    "It's the dog's 12th birthday; they'll've HATS!",
    "unbelievably antidisestablishmentarianism aaaaaaaaaaaaaaaa",
    "<start_of_text>a<END_OF_TEXT> b",
    "caf\u00e9 &amp;amp; na\u00efve \u2014 \u201cquoted\u201d \ufb01sh",
    "\u732b\u3068\u72ac \u043a\u043e\u0442 \u0643\u0644\u0628 \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "schÃ¶n mojibake",
    "x\ty\nz\x00\x85",
]


@pytest.fixture(scope="module")
def ours():
    return BytePairs()


@pytest.mark.parametrize("text", TEXTS)
def test_the_count_is_open_clips(ours, text):
    assert ours.count(text) == len(byte_pairs(77).encode(text))


def test_the_count_of_odd_texts_is_open_clips(ours):
    rng, theirs = random.Random(0), byte_pairs(77)
    letters = "aabeeimnrstu  '''-,.!?0189ÄßéœЖж猫あ\U0001f600&;\t"
    texts = ["".join(rng.choices(letters, k=rng.randrange(1, 60))) for _ in range(500)]
    assert [ours.count(text) for text in texts] == [len(theirs.encode(text)) for text in texts]


def test_it_needs_no_torch():
    code = (
        "import sys; from umgclip.data.byte_pairs import BytePairs\n"
        "print(BytePairs().count('a cat'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.split() == ["2", "False"]
