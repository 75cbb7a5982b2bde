"""Search of the images and regions of a dataset by text or picture, in a LanceDB index.

`umgclip.search.RegionIndex` searches an index that `umgclip index` made; docs/search.md shows both.
"""

from umgclip.search.filters import SearchFilter
from umgclip.search.hits import Hit
from umgclip.search.region_index import RegionIndex

__all__ = ["Hit", "RegionIndex", "SearchFilter"]
