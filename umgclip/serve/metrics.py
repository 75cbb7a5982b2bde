"""Metrics for Prometheus. Each server has its own registry, so that tests can start several in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from umgclip.serve.current import Current
from umgclip.serve.shares import ResourcePool

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms of requests and forward passes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter("umgclip_requests", "Requests answered.", ["path", "code"], registry=self.registry)
        self.seconds = Histogram(
            "umgclip_request_seconds",
            "Seconds from a request's first byte to the end of its answer, /predict only.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waited = Histogram(
            "umgclip_queue_seconds",
            "Seconds that a prepared image waits for its forward pass.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.forward = Histogram(
            "umgclip_forward_seconds", "Seconds of one forward pass.", buckets=_SECONDS, registry=self.registry
        )
        self.batch = Histogram(
            "umgclip_batch_images", "Images in a forward pass.", buckets=_IMAGES, registry=self.registry
        )
        self.queue = Gauge("umgclip_queue_images", "Images accepted and not yet answered.", registry=self.registry)

    def watch(self, current: Current, images: ResourcePool) -> None:
        """Add metrics of the model and the queue, which are read at each scrape."""
        self.queue.set_function(lambda: images.taken)
        self.registry.register(_ModelCollector(current))


class _ModelCollector(Collector):
    def __init__(self, current: Current) -> None:
        self._current = current

    def collect(self) -> list[Metric]:
        current, served = self._current, self._current.served
        selection, texts = current.selection, served.answerer.texts
        model = GaugeMetricFamily("umgclip_model", "The model that answers.", labels=["name", "alias", "version"])
        model.add_metric([selection.name, "" if selection.version else selection.alias, served.version], 1)
        loaded = GaugeMetricFamily(
            "umgclip_model_loaded_timestamp_seconds",
            "Unix time at which the model was loaded.",
            value=served.loaded_at.timestamp(),
        )
        problem = GaugeMetricFamily(
            "umgclip_model_problem",
            "1 while the version that the alias names cannot be loaded and an older one answers.",
            value=float(current.problem is not None),
        )
        swaps = CounterMetricFamily(
            "umgclip_model_swaps", "Replacements of the model by another version.", value=current.swaps
        )
        failures = CounterMetricFamily(
            "umgclip_model_failures", "Failed checks of the alias and failed loads.", value=current.failures
        )
        known = CounterMetricFamily("umgclip_label_cache", "Labels looked up in the cache.", labels=["result"])
        known.add_metric(["hit"], texts.hits)
        known.add_metric(["miss"], texts.misses)
        cut = CounterMetricFamily(
            "umgclip_labels_cut", "Labels longer than the model's context.", value=served.answerer.texts_read.cut
        )
        return [model, loaded, problem, swaps, failures, known, cut]
