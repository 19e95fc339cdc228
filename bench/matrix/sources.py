"""The slow directories: what bench.slowdir is told to be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A source where each request waits `latency_s`, and all share `bandwidth_bytes_s`."""

    name: str
    latency_s: float
    bandwidth_bytes_s: float

    @property
    def description(self) -> str:
        return f"{self.latency_s * 1e3:g} ms a request, {self.bandwidth_bytes_s / 1e6:.0f} MB/s"


SOURCES = (
    Source("2ms", 0.002, 200e6),  # a file server down the hall
    Source("20ms", 0.020, 100e6),  # object storage, another site
    Source("narrow", 0.0005, 25e6),  # a USB disk, a busy link: what is fetched in vain is paid for
)
