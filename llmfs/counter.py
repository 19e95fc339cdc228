"""A counter for the request path.

prometheus-client's own makes four calls and takes a lock for each addition, and a block that comes ahead of its use is
counted some ten times. This one makes one call, and is collected when Prometheus asks. Its `inc` belongs to one thread
unless made with a lock.
"""

import threading
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry


class Count:
    """How often, or how much, for one combination of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add to it; `amount` is not negative."""
        self.value += amount


class _SharedCount(Count):
    """One that several threads add to."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def inc(self, amount: float = 1) -> None:
        with self._lock:
            self.value += amount


class Counter(Collector):
    """Counts by the values of labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        is_shared: bool = False,
    ) -> None:
        """`is_shared`: several threads count."""
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._count = _SharedCount if is_shared else Count
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The count of a combination of values, in the order of the labels; it is there from now on, at zero."""
        return self._counts.setdefault(values, self._count())

    def collect(self) -> Iterable[CounterMetricFamily]:
        """What Prometheus sees."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family
