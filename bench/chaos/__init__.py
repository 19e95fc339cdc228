"""What llmfs does when things go wrong, and when they go on for long: python -m bench.chaos

scenarios.py   the list; each is told where it may work and how hard to try, and says what it saw
kill.py        the mount and its predictor, killed at any moment and at the worst one
many.py        more open files, names and readers than a daemon likes
cache_disk.py  the cache's disk full, read-only, emptied by somebody
cache_slow.py  the cache's disk slow
soak.py        everything at once, for long: nothing grows
place.py       a mount whose daemon can be killed and looked into, and what is below it
drawing.py     what was sampled, as a plot
load.py        the programs at work on the mount, in processes of their own
"""
