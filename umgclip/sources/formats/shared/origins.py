"""Download pages and licence terms of the public data sets, for messages about missing files."""

from __future__ import annotations

from dataclasses import dataclass

from umgclip.errors import DataError
from umgclip.io.places import Place


@dataclass(frozen=True)
class Origin:
    """A public data set: its name, its download page, and its terms in short."""

    name: str
    page: str
    terms: str

    def missing(self, where: object, expected: str) -> DataError:
        """Build the error for a missing file; it names the page to download the data set from."""
        return DataError(f"{where}: expected {expected}, found none; {self.name} is at {self.page} ({self.terms})")

    def read(self, source: Place, name: str, expected: str, limit: int = 64 << 20) -> bytes:
        """Read a file of the data set.

        Raises:
            DataError: the file is missing; the message names the data set's page.
        """
        if not source.exists(name):
            raise self.missing(f"{source}/{name}", expected)
        return source.read(name, limit)


IMAGENET = Origin(
    "ImageNet", "https://image-net.org/download.php", "terms of access: research and education, not commercial"
)
COCO = Origin(
    "COCO",
    "https://cocodataset.org/#download, LVIS at https://www.lvisdataset.org/dataset",
    "annotations: CC BY 4.0; images: on Flickr's terms",
)
CLIP_BENCHMARK = Origin(
    "CLIP_benchmark's collection", "https://huggingface.co/clip-benchmark", "each data set has terms of its own"
)
KARPATHY = Origin(
    "the JSON with Karpathy's split",
    "https://cs.stanford.edu/people/karpathy/deepimagesent",
    "images: Flickr30k and COCO, on Flickr's terms",
)
FG_OVD = Origin(
    "FG-OVD",
    "https://github.com/lorebianchi98/FG-OVD, in benchmarks/",
    "texts: see the repository; images: COCO 2017, on Flickr's terms",
)
URBAN1K = Origin(
    "Urban-1k", "https://huggingface.co/datasets/BeichenZhang/Urban1k", "images of Visual Genome; captions by GPT-4V"
)
DCI = Origin(
    "Densely Captioned Images",
    "https://github.com/facebookresearch/DCI",
    "annotations: CC BY-NC; images: sa_000138.tar of SA-1B, on its own terms",
)
DOCCI = Origin("DOCCI", "https://google.github.io/docci", "CC BY 4.0")
SHAREGPT4V = Origin(
    "ShareGPT4V",
    "https://huggingface.co/datasets/Lin-Chen/ShareGPT4V",
    "captions: CC BY-NC 4.0; images: of SA-1B, on its own terms",
)
ADE20K = Origin(
    "ADE20K's scene parsing benchmark",
    "http://sceneparsing.csail.mit.edu",
    "images: research and education, not commercial; annotations: BSD-3-Clause",
)
ADE20K_FULL = Origin("ADE20K (full)", "https://ade20k.csail.mit.edu", ADE20K.terms)
PASCAL_CONTEXT = Origin(
    "PASCAL Context",
    "https://cs.stanford.edu/~roozbeh/pascal-context",
    "images: PASCAL VOC 2010, on Flickr's terms",
)
CITYSCAPES = Origin(
    "Cityscapes", "https://www.cityscapes-dataset.com/downloads", "own licence: research and tests, not commercial"
)
MMVP = Origin(
    "MMVP-VLM", "https://huggingface.co/datasets/MMVP/MMVP_VLM", "images from the web, on the terms of their sources"
)
OPEN_IMAGES = Origin(
    "Open Images",
    "https://storage.googleapis.com/openimages/web/download_v7.html",
    "annotations: CC BY 4.0; images: listed as CC BY 2.0",
)
