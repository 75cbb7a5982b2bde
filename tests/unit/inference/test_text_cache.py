"""The cache of label embeddings."""

import threading

import torch

from umgclip.inference.text_cache import TextCache


def test_what_was_put_is_found_and_counted():
    cache = TextCache(2)
    cache.put({"a": torch.ones(3)})
    assert torch.equal(cache.get(["a", "b"])["a"], torch.ones(3))
    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 1)


def test_the_least_used_is_forgotten_first():
    cache = TextCache(2)
    cache.put({"a": torch.zeros(1), "b": torch.zeros(1)})
    cache.get(["a"])
    cache.put({"c": torch.zeros(1)})
    assert set(cache.get(["a", "b", "c"])) == {"a", "c"}


def test_a_kept_row_keeps_nothing_else_alive():
    cache = TextCache(2)
    rows = torch.zeros(256, 4)
    cache.put({"a": rows[7]})
    assert cache.get(["a"])["a"].untyped_storage().nbytes() == 4 * 4


def test_threads_may_share_it():
    cache = TextCache(8)

    def work() -> None:
        for number in range(2000):
            cache.put({str(number % 20): torch.zeros(1)})
            cache.get([str(number % 7)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 8
    assert cache.hits + cache.misses == 8000
