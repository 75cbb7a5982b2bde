"""Write the best label of every photo in a folder as CSV.

python examples/classify_folder.py artifacts photos "dog,cat,key"
"""

import argparse
import csv
import sys
from pathlib import Path

import umgclip
from umgclip.errors import UmgclipError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def main() -> None:
    """Classify whole photos; one that cannot be read has the reason in the last column."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or models:/NAME@ALIAS")
    parser.add_argument("photos", type=Path)
    parser.add_argument("labels", help="separated by commas")
    arguments = parser.parse_args()
    labels = [label.strip() for label in arguments.labels.split(",")]
    model = umgclip.load(arguments.model)
    writer = csv.writer(sys.stdout)
    writer.writerow(["file_name", "label", "probability", "error"])
    for path in sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES):
        name = path.relative_to(arguments.photos).as_posix()
        try:
            scores = model.classify(path, labels)[0]
        except UmgclipError as error:
            writer.writerow([name, "", "", error])
            continue
        writer.writerow([name, labels[scores.argmax()], f"{scores.max():.3f}", ""])


if __name__ == "__main__":
    main()
