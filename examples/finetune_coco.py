"""Tune a CLIP on COCO boxes and captions of your own: a project, the imports, the stages.

python examples/finetune_coco.py photos boxes.json captions.json --work my-coco

The boxes are labels already, so annotate names nothing and only embeds regions for distillation. A tenth of the
images is put aside to measure the result.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROLES = ("masker", "region_captioner", "tagger", "captioner", "filter")


def umgclip(work: Path, *words: str) -> None:
    """Run a command of umgclip in the project; an error ends the script."""
    subprocess.run([sys.executable, "-m", "umgclip", *words], cwd=work, check=True)  # noqa: S603 - our own command


def main() -> None:
    """Write the project and run its stages; started again, it continues where it was stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("boxes", type=Path, help="COCO's instances")
    parser.add_argument("captions", type=Path, help="COCO's captions")
    parser.add_argument("--hold-out", default="0.1", help="share of the photos to measure on")
    parser.add_argument("--work", type=Path, default=Path("my-coco"))
    parser.add_argument("--pretrained", default="openai", help="a tag of open_clip, a checkpoint or a folder")
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    photos, work = arguments.photos.resolve(), arguments.work.resolve()
    if not (work / "params.yaml").is_file():
        base = Path(arguments.pretrained)
        pretrained = str(base.resolve()) if base.exists() else arguments.pretrained
        umgclip(Path.cwd(), "init", str(work), "--pretrained", pretrained, "--model", arguments.model)
        _write_params(work / "params.yaml", arguments.steps, arguments.batch)
        truth = ["--instances", str(arguments.boxes.resolve()), "--captions", str(arguments.captions.resolve())]
        umgclip(work, "data", "import", "coco", str(photos), *truth, "--hold-out", arguments.hold_out)
    for stage in ("base", "annotate", "validate", "train", "evaluate"):
        umgclip(work, stage)
    umgclip(work, "report")
    umgclip(work, "export", "--to", "open_clip")


def _write_params(path: Path, steps: int, batch: int) -> None:
    """Change a few values of the project: given labels, no other annotators, the length of the tuning."""
    yaml = YAML()
    yaml.width = 1000
    params = yaml.load(path.read_text(encoding="utf-8"))
    params["annotate"]["roles"].update({"region_tagger": "given", **dict.fromkeys(ROLES, "none")})
    params["train"].update({"steps": steps, "batch": batch, "resize": "pad"})
    params["evaluate"]["resize"] = "pad"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


if __name__ == "__main__":
    main()
