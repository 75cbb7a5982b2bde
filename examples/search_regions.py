"""Print the regions of a COCO file that are nearest to a text.

python examples/search_regions.py artifacts photos boxes.json "a red mug"

This embeds every region on each call, which suits some thousands.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

import umgclip


def main() -> None:
    """Embed the boxes of every photo, and rank them by their cosine with the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or models:/NAME@ALIAS")
    parser.add_argument("photos", type=Path)
    parser.add_argument("boxes", type=Path, help="COCO's JSON")
    parser.add_argument("text")
    parser.add_argument("--top", type=int, default=5)
    arguments = parser.parse_args()
    coco = json.loads(arguments.boxes.read_text(encoding="utf-8"))
    boxes_of = defaultdict(list)
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        boxes_of[annotation["image_id"]].append([x, y, x + width, y + height])
    model = umgclip.load(arguments.model)
    regions, rows = [], []
    for image in coco["images"]:
        if boxes := boxes_of[image["id"]]:
            rows.append(model.embed_boxes(arguments.photos / image["file_name"], boxes))
            regions.extend((image["file_name"], box) for box in boxes)
    cosines = np.concatenate(rows) @ model.embed_texts(arguments.text)[0]
    for index in np.argsort(-cosines)[: arguments.top]:
        name, box = regions[index]
        print(f"{cosines[index]:.3f}  {name}  {[round(side) for side in box]}")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
