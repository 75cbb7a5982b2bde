"""Fixtures of the metric tests."""

import jaxtyping
import pytest


@pytest.fixture
def shape_hook_off(monkeypatch):
    """Let wrong shapes reach the function's own checks, as in production, where the jaxtyping hook is off."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
