"""Counts of texts whose end a model does not see."""

import torch

from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.reader import ClipReader, TextsRead
from umgclip.model.clip.tokenizer import Tokenizer


class Flat:
    """Embeds every text alike."""

    def encode_image(self, images, valid=None):
        raise NotImplementedError

    def encode_text(self, tokens):
        return torch.ones(len(tokens), 4)

    def logit_scale(self):
        return torch.tensor(1.0)

    def logit_bias(self):
        return None


def test_texts_beyond_the_context_are_counted():
    reader = ClipReader(Flat(), Tokenizer(8), ImageInput((8, 8)))
    reader.texts(["a dog", "a dog and a cat and a cow", "a dog on a hill by a lake in a wood"])
    assert reader.texts_read.in_words() == ("2 of 3 are longer than the model's 8 tokens; it does not read their end")
    reader.texts(["a cat"])
    assert (reader.texts_read.read, reader.texts_read.cut) == (4, 2)


def test_without_such_a_text_there_is_nothing_to_tell():
    read = TextsRead()
    read.add(["a dog", "a cat"], Tokenizer(8))
    read.add(["a dog and a cat and a cow and more"], lambda texts: torch.zeros(len(texts), 8).long())
    assert (read.read, read.cut, read.in_words()) == (3, 0, None)
