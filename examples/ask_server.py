"""Ask a running `umgclip serve` for the labels of a photo.

python examples/ask_server.py photo.jpg "dog,cat,key" --url http://127.0.0.1:8000

The key of a server that requires one comes from the variable UMGCLIP_API_KEY.
"""

import argparse
import base64
import json
import os
import urllib.request
from pathlib import Path


def main() -> None:
    """Send one request, and print the labels by falling probability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("labels", help="separated by commas")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    labels = [label.strip() for label in arguments.labels.split(",")]
    image = base64.b64encode(arguments.photo.read_bytes()).decode()
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("UMGCLIP_API_KEY"):
        headers["X-API-Key"] = key
    body = json.dumps({"image": image, "labels": labels}).encode()
    request = urllib.request.Request(f"{arguments.url}/predict", body, headers)  # noqa: S310 - the caller's server
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        scores = json.load(answer)["label_scores"]
    for label, score in sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1]):
        print(f"{score:.3f}  {label}")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
