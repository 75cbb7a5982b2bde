"""open_clip comes without transformers and torch's compiler, and both come when a model asks for them."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.forks import forking

IMPORTED = """
import json, sys
import torch
import umgclip.annotate.models.clip_teacher  # reads images and regions, like each process that annotates
from umgclip.model.clip.light_open_clip import open_clip

later = ("transformers", "torch._dynamo", "torch._dynamo.utils", "sympy")
assert open_clip.timm_model.timm is sys.modules["timm"]
assert torch.compiler.disable.__module__ == "torch.compiler"
print(json.dumps([name for name in later if name in sys.modules]))
"""
TEXT_TOWER = """
import sys
import torch
from umgclip.model.clip.light_open_clip import open_clip

make = open_clip.model.HFTextEncoder
tower = make(sys.argv[1], output_dim=4, pooler_type="mean_pooler", proj_type="linear", pretrained=False)
assert tower(torch.tensor([[2, 5, 7]])).shape == (1, 4)
assert type(tower) is make
again = make(sys.argv[1], output_dim=8, pooler_type="cls_pooler", proj_type=None, pretrained=False)
assert again(torch.tensor([[2, 5, 7]])).shape == (1, 8)
"""
COMPILER = """
import sys
import torch
from umgclip.model.clip.light_open_clip import open_clip

roi_align = sys.modules["torchvision.ops.roi_align"]
answered = roi_align.is_compile_supported("cpu")
assert answered == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
"""
NAFLEX = """
import torch
from umgclip.model.clip.light_open_clip import open_clip
import timm

tower = timm.create_model("naflexvit_base_patch16_gap", embed_dim=48, depth=1, num_heads=4, num_classes=0)
assert tower(torch.zeros(1, 3, 32, 32)).shape == (1, 48)
"""
ANOTHER_VERSION = """
import sys
from umgclip.model.clip.light_open_clip import _COMPILER, _CompilerLater, _in_place

with _in_place(_COMPILER, _CompilerLater(_COMPILER)):
    from torch._dynamo.utils import is_compile_supported, counters
assert counters is sys.modules[_COMPILER].counters
assert not isinstance(sys.modules[_COMPILER], _CompilerLater)
"""
BERT = {"model_type": "bert", "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


Run = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a program in a process that has imported torch; gives what it prints."""
    with forking("torch") as forks:

        def run(code: str, *arguments: str) -> str:
            done = forks.execute(["-c", code, *arguments], Path.cwd(), os.environ)
            assert done.returncode == 0, done.stderr[-2000:]
            return done.stdout

        yield run


def test_both_stay_away_until_they_are_needed(run: Run):
    assert json.loads(run(IMPORTED)) == []


def test_a_text_tower_of_hugging_face_brings_transformers(run: Run, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(BERT | {"intermediate_size": 8}))
    run(TEXT_TOWER, str(tmp_path))


def test_the_compiler_comes_with_its_first_question(run: Run):
    run(COMPILER)


def test_a_naflex_tower_computes(run: Run):
    run(NAFLEX)


def test_a_torchvision_that_takes_more_gets_the_compiler_itself(run: Run):
    run(ANOTHER_VERSION)
