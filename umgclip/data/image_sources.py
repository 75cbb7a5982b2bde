"""The sources and licences of a dataset's images, as its first records say."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from umgclip.errors import DataError
from umgclip.io.manifest import read_manifest
from umgclip.io.shard_source import read_shard_at, shard_at
from umgclip.records import stored_record

NOT_STATED = "not stated"
_SHARDS, _SAMPLES = 16, 32


@dataclass(frozen=True)
class DataSources:
    """The sources and licences of one dataset.

    Attributes:
        images: number of all images.
        counts: records looked at, by name of the dataset and licence.
    """

    images: int
    counts: Counter[tuple[str, str]]

    @property
    def names(self) -> list[str]:
        """The names of the source datasets, sorted."""
        return sorted({dataset for dataset, _ in self.counts})


def data_sources(folder: Path) -> DataSources:
    """Count sources and licences in the first records of the first shards; reading all could take hours.

    A record that is not one counts for nothing: the stage that needs it puts it into quarantine.

    Raises:
        DataError: the dataset is missing, or its files are damaged.
    """
    manifest = read_manifest(folder)
    counts: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards[:_SHARDS]:
        path = shard_at(folder, shard.path)
        for sample in islice(read_shard_at(path), _SAMPLES):
            with suppress(DataError):
                source = stored_record(sample.json, key=sample.key, where=f"{path}:{sample.key}").source
                counts[source.dataset, source.license or NOT_STATED] += 1
    return DataSources(manifest.samples, counts)
