"""A histogram for the request path.

prometheus-client's own takes 3 us an observation (a lock and a loop over the buckets, twice); two of them stand in
the way of every request. This one takes 0.4 us: a bisection and two additions, collected when Prometheus asks. Its
`observe` belongs to one thread unless made with a lock.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Series:
    """The observations of one combination of label values."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class _SharedSeries(Series):
    """One that several threads add to."""

    __slots__ = ("_lock",)

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__(bounds)
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        with self._lock:
            super().observe(value)


class Histogram(Collector):
    """Observations by the values of labels, all combinations of which are known beforehand."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        values: Iterable[tuple[str, ...]],
        buckets: Sequence[float],
        registry: CollectorRegistry,
        is_shared: bool = False,
    ) -> None:
        """`values`: the combinations, each in the order of `labels`. `buckets`: upper bounds, ascending, without
        infinity. `is_shared`: several threads observe.
        """
        self._name = name
        self._documentation = documentation
        self._labels = labels
        kind = _SharedSeries if is_shared else Series
        self._series = {value: kind(buckets) for value in values}
        registry.register(self)

    def __getitem__(self, values: tuple[str, ...]) -> Series:
        return self._series[values]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What Prometheus sees."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.items():
            cumulative, buckets = 0, []
            for bound, count in zip([*series.bounds, float("inf")], list(series.counts), strict=True):
                cumulative += count
                buckets.append((floatToGoString(bound), cumulative))  # type: ignore[no-untyped-call]
            family.add_metric(values, buckets, series.sum)
        yield family
