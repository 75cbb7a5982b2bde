"""A hub that does not answer: at once, from the cache, or in one line."""

import time

import pytest
from huggingface_hub import constants

from umgclip.errors import InputError
from umgclip.model.clip.pretrained.hub import quick_without_hub
from umgclip.model.clip.pretrained.load import load_pretrained


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """Nobody listens where the hub should be, and its cache is empty."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_tag_without_a_hub_fails_at_once(no_hub):
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_pretrained("ViT-B-32", "laion2b_s34b_b79k")
    assert time.monotonic() - started < 20
    assert "base.pretrained: cannot load 'laion2b_s34b_b79k' for ViT-B-32: the Hugging Face hub does not answer" in str(
        caught.value
    )
    assert "its cache lacks laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in str(caught.value)


def test_the_hub_is_asked_again_afterwards(no_hub):
    with quick_without_hub() as answers:
        assert not answers
        assert constants.is_offline_mode()
    assert not constants.is_offline_mode()


def test_behind_a_proxy_the_hub_is_left_to_its_client(no_hub, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with quick_without_hub() as answers:
        assert answers
        assert not constants.is_offline_mode()
