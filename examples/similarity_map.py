"""Draw where a photo shows a word.

python examples/similarity_map.py artifacts photo.jpg "a dog" --out dog.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import umgclip


def main() -> None:
    """Lay the cosines of a text with every pixel over the photo, dark where they are low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or models:/NAME@ALIAS")
    parser.add_argument("photo", type=Path)
    parser.add_argument("text")
    parser.add_argument("--out", type=Path, default=Path("similarity.png"))
    arguments = parser.parse_args()
    (heat,) = umgclip.load(arguments.model).similarity_map(arguments.photo, [arguments.text])
    with Image.open(arguments.photo) as opened:
        pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), np.float32)
    low, high = np.percentile(heat, [5, 99])
    light = np.clip((heat - low) / max(high - low, 1e-6), 0.1, 1.0)
    Image.fromarray((pixels * light[..., None]).astype(np.uint8)).save(arguments.out)


if __name__ == "__main__":
    main()
