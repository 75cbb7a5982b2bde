"""Card of an exported data set, as the Hub shows it: front matter that programs read, and a text for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from umgclip import __version__
from umgclip.io.atomic import write_bytes
from umgclip.safe_text import in_markdown
from umgclip.sources.formats.huggingface.data_files import CARD
from umgclip.sources.formats.huggingface.features import card_features

# identifiers of https://huggingface.co/docs/hub/repositories-licenses that image data sets have
_LICENSES = frozenset((
    "apache-2.0", "mit", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "odbl", "odc-by", "pddl",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "unlicense",
))  # fmt: skip
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip
_SHOWN = 20  # licences that are listed

_COLUMNS = """\
| column | content |
|---|---|
| `image` | the image file |
| `image_id` | beginning of the SHA-256 of the image file |
| `width`, `height` | pixels |
| `captions`, `tags` | lists of texts; null where nobody was asked for any |
| `label` | class of an image that shows one object, -1 for others; only in benchmarks |
| `objects.bbox` | left, top, width and height in pixels, as in COCO |
| `objects.category` | class; -1 (or null, among texts) without a label |
| `objects.segmentation` | compressed run lengths as in COCO, `pycocotools.mask.decode` reads them |
| `objects.is_stuff` | a background such as grass, no thing |
| `objects.captions`, `.score`, `.source` | phrases, confidence from 0 to 1, who found it |
| `license`, `url` | of the image, where its source states them |
| `umgclip`, `objects.umgclip` | JSON of what the columns have no place for |
"""


@dataclass(frozen=True)
class Exported:
    """Facts about a finished export, for its card.

    Attributes:
        split: its only split.
        features: of the columns.
        sizes: bytes of each file.
        counts: images, captions, regions and masks.
        licenses: images by their licence.
    """

    split: str
    features: Mapping[str, Any]
    sizes: Sequence[int]
    counts: Mapping[str, int]
    licenses: Mapping[str, int]


def write_card(folder: Path, name: str, exported: Exported) -> None:
    """Write `README.md` of a data set."""
    buffer = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = False, 1 << 16, True
    yaml.dump(_front(name, exported), buffer)
    counts = ", ".join(f"{number} {what}" for what, number in exported.counts.items())
    licenses = list(exported.licenses.items())
    listed = [f"- {in_markdown(text)}: {number} images" for text, number in licenses[:_SHOWN]]
    if len(licenses) > _SHOWN:
        listed.append(f"- {len(licenses) - _SHOWN} more")
    body = f"""
# {in_markdown(name)}

{counts}, exported by umgclip {__version__}.

```python
from datasets import load_dataset

dataset = load_dataset("PATH_OR_REPOSITORY", split="{exported.split}")
```

{_COLUMNS}
`umgclip data import huggingface PATH` restores the dataset.

Licences of the images, as their sources state them:

"""
    write_bytes(folder / CARD, f"---\n{buffer.getvalue()}---\n{body}{chr(10).join(listed)}\n".encode())


def _front(name: str, exported: Exported) -> dict[str, Any]:
    images, size = exported.counts["images"], sum(exported.sizes)
    only = next(iter(exported.licenses)).lower() if len(exported.licenses) == 1 else "other"
    tasks = [
        *(["object-detection"] if exported.counts["regions"] else []),
        *(["image-segmentation"] if exported.counts["masks"] else []),
        *(["image-to-text"] if exported.counts["captions"] else []),
        "zero-shot-image-classification",
    ]
    return {
        "pretty_name": name,
        "license": only if only in _LICENSES else "other",
        "task_categories": tasks,
        "size_categories": [next((text for most, text in _SIZES if images < most), "n>1T")],
        "dataset_info": {
            "features": card_features(exported.features),
            "splits": [{"name": exported.split, "num_bytes": size, "num_examples": images}],
            "download_size": size,
            "dataset_size": size,
        },
        "configs": [
            {"config_name": "default", "data_files": [{"split": exported.split, "path": f"data/{exported.split}-*"}]}
        ],
    }
