"""The files that an access log names, in the order of their first use, as a profile: for `llmfs warm --from-trace`."""

import os
from collections.abc import Iterable

import numpy as np

from llmfs.profile import Profile
from llmfs.recording import note
from predictor.events import Op
from predictor.trace import Batch


def profile_of(batches: Iterable[Batch]) -> Profile:
    """What was read, and which directories were listed. Raises what reading the batches does (predictor/trace.py)."""
    profile = Profile(1)
    for batch in batches:
        records = batch.records
        for record in records[np.isin(records["op"], (Op.READ, Op.READDIR))]:
            path = batch.paths.path(int(record["path"]))
            note(profile, os.fsdecode(path), int(record["op"]), int(record["offset"]), int(record["length"]))
    for used in profile.files.values():
        used.tidy()
    return profile
