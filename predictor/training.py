"""Training from traces: `llmfs train TRACE...`.

The traces are played through an engine, several times over with time in between forgotten, as mounts would have sent
them; the rankings it makes on the way are the examples. Then the network is trained on them as the serving process
does it (predictor.trainer), and promoted by the same rule. What the engine learned by its tables is saved as well, so a
mount that uses the state directory knows these programs from the start.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from predictor import ranker, state
from predictor.evaluate import replay
from predictor.recording import load as load_recording
from predictor.state import replace
from predictor.trainer import Report, incumbent_weights
from predictor.trainer import train as train_network

Progress = Callable[[str, float], None]
"""Called with what is being done and how far the whole is, 0 to 1."""


def train(
    traces: Sequence[str | os.PathLike[str]],
    state_dir: str | os.PathLike[str],
    progress: Progress | None = None,
    passes: int = 2,
    limit_bytes: int = state.LIMIT_BYTES,
    seconds: float = 120.0,
) -> Report | None:
    """Learns from `traces` (directories or segments of ours, CSV, DLIO) into `state_dir`.

    Returns the network's report, or None where the traces held too few rankings to train on; the tables are saved in
    both cases. The network is put in use only if it beat the one in use and the prior. Raises TraceError or OSError.
    """
    tell = progress or (lambda _what, _share: None)
    engine = state.load(state_dir, limit_bytes=limit_bytes)
    engine.examples.every = 1
    recordings = []
    for index, trace in enumerate(traces):
        tell(f"reading {Path(trace).name}", 0.2 * index / len(traces))
        recordings.append(load_recording(trace))
    for number in range(passes):
        for index, recording in enumerate(recordings):
            share = (number * len(recordings) + index) / (passes * len(recordings))
            tell(f"learning from {recording.name}, pass {number + 1}", 0.2 + 0.5 * share)
            replay(engine, recording)
    tell("training the network", 0.7)
    directory = Path(state_dir)
    directory.mkdir(parents=True, exist_ok=True)
    report = None
    try:
        weights, report = train_network(
            engine.examples.arrays(), incumbent_weights(directory), steps=2000, seconds=seconds
        )
        if report.is_better:
            data = ranker.dump_weights(weights)
            replace(directory / ranker.NAME, lambda file: file.write(data))
    except (ValueError, KeyError):
        tell("too few rankings to train a network on", 0.95)
    tell("saving", 0.95)
    state.save(engine, directory, limit_bytes)
    tell("done", 1.0)
    return report
