"""Sources of files written for one test."""

import pytest


@pytest.fixture
def source(kit, tmp_path):
    """Write files by name; a number is the seed of an image of 40 x 30."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                kit.photo(path, content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "in"

    return write
