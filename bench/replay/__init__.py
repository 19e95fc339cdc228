"""Traces replayed against a modelled source under a virtual clock: what each policy is worth in seconds of stall.

The predictor's engine, the local rules, the planning of prefetches, how much a miss fetches, and eviction are the very
objects that a mount drives; modelled are the source (`source.py`), the programs' waiting (`workload.py`) and the
plumbing between them (`simulation.py`). Rivals and bounds take the predictor's place (`planners.py`, `bounds.py`).
"""
