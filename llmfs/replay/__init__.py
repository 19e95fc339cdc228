"""Traces replayed against a modelled source under a virtual clock: what each policy is worth in seconds of stall.

The predictor's engine, the local rules, the planning of prefetches, how much a miss fetches, and eviction are the very
objects that a mount drives; modelled are the source (`source.py`), the programs' waiting (`workload.py`) and the
plumbing between them (`simulation.py`). Who plans is exchangeable (`planners.py`): rivals and bounds of the predictor
are in `bench/replay/`.

The controller is trained here: `mixes.py` has programs that compete, `steered.py` has a controller beside the planner,
`episodes.py` plays with it, and `training.py` makes weights of what came of it (`llmfs train-controller`). A mount
imports none of this.
"""
