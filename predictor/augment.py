"""Recordings of what was never recorded: the same accesses under other names, and two programs' accesses mixed.

What is learned must hold for any names and in any company. Extensions and the order of sorted names stay as they are,
for programs go by them; the order in which directories list their names, which follows a hash of them, does not.
"""

import re

import numpy as np

from predictor.events import ROOT, PathTable, Stream
from predictor.recording import Recording, moved

_NUMBER = re.compile(rb"\d{3,}")


def renamed(recording: Recording, prefix: bytes, shift: int) -> Recording:
    """All names begin with `prefix`; numbers of three digits or more are `shift` higher, as far as the digits go."""

    def rename(name: bytes) -> bytes:
        def higher(match: re.Match[bytes]) -> bytes:
            text = b"%0*d" % (len(match[0]), int(match[0]) + shift)
            return text if len(text) == len(match[0]) else match[0]

        return prefix + _NUMBER.sub(higher, name)

    old, new = recording.paths, PathTable()
    ids = {ROOT: ROOT}
    for path in old:
        if path != ROOT:
            ids[path] = new.intern(ids[old.parent(path)], rename(old.name(path)))
    return moved(recording, f"renamed {recording.name}", new, ids, recording.streams)


def interleaved(one: Recording, other: Recording) -> Recording:
    """Both at once, each in a directory of its own and over the whole of the time."""
    paths = PathTable()
    streams: dict[int, Stream] = {}
    both = []
    for number, recording in enumerate((one, other)):
        top = paths.intern(ROOT, b"%d" % number)
        ids = {ROOT: top}
        for path in recording.paths:
            if path != ROOT:
                ids[path] = paths.intern(ids[recording.paths.parent(path)], recording.paths.name(path))
        numbers = {}
        for stream in recording.streams.values():
            numbers[stream.id] = len(streams)
            streams[len(streams)] = Stream(len(streams), 2 * stream.tgid + number, stream.command)
        copy = moved(recording, recording.name, paths, ids, streams)
        for records in copy.batches:
            records["stream"] = [numbers[stream] for stream in records["stream"].tolist()]
            share = np.linspace(0, 1, len(records), endpoint=False)
            records["time_ns"] = one.batches[0]["time_ns"][0] + (share * _duration_ns(one)).astype(np.uint64)
        both.append(copy)
    records = np.concatenate([records for copy in both for records in copy.batches])
    records = records[np.argsort(records["time_ns"], kind="stable")]
    return Recording(
        f"{one.name} with {other.name}",
        paths,
        streams,
        [records],
        both[0].children | both[1].children,
        both[0].folders | both[1].folders,
        both[0].sizes | both[1].sizes,
    )


def _duration_ns(recording: Recording) -> int:
    times = recording.batches[0]["time_ns"]
    return int(times[-1] - times[0])
