"""Find things in a photo by their names, and draw them.

python examples/detect.py artifacts photo.jpg "dog,red mug" --out found.png

Needs the extra "interfaces" of the package (supervision).
"""

import argparse
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageOps

import umgclip


def main() -> None:
    """Propose regions, name them, print a line for each, and draw boxes, masks and names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or models:/NAME@ALIAS")
    parser.add_argument("photo", type=Path)
    parser.add_argument("labels", help="separated by commas")
    parser.add_argument("--threshold", type=float, default=0.3, help="least confidence")
    parser.add_argument("--out", type=Path, default=Path("detections.png"))
    arguments = parser.parse_args()
    labels = [label.strip() for label in arguments.labels.split(",")]
    detections = umgclip.load(arguments.model).detect(arguments.photo, labels, threshold=arguments.threshold)
    with Image.open(arguments.photo) as opened:
        pixels = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    captions = []
    for name, confidence, box in zip(
        detections.data["class_name"], detections.confidence, detections.xyxy.round().astype(int), strict=True
    ):
        captions.append(f"{name} {confidence:.2f}")
        print(f"{confidence:.3f}  {name}  {box.tolist()}")  # noqa: T201 - the result
    pixels = sv.MaskAnnotator(opacity=0.4).annotate(pixels, detections)
    pixels = sv.BoxAnnotator(thickness=2).annotate(pixels, detections)
    pixels = sv.LabelAnnotator(text_scale=0.4).annotate(pixels, detections, labels=captions)
    Image.fromarray(pixels).save(arguments.out)


if __name__ == "__main__":
    main()
