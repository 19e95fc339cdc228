"""How near the eviction policy of the mount comes to Belady's bound, beside its rivals, on block traces and our own.

The object that is replayed is the one that a mount drives (`llmfs.policy.eviction.Eviction`). Rivals come from
libcachesim, which is GPL-3 and no part of llmfs: it is run in processes of its own, and only by this benchmark.
"""
