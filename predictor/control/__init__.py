"""The controller: how eager prefetching is, chosen anew every second or so from what the mount counts.

Pure and replayable: readings come in, an arm goes out. The mount's loop (`llmfs/control_loop.py`) and the replay
(`llmfs/replay/steered.py`) drive the same objects.

    arms.py      what can be chosen
    state.py     counters of a mount -> a row of features
    steering.py  the loop's core: what a controller wants, with hysteresis and a safe arm
    rules.py     the controller that ships
    network.py   the learned one, served in NumPy; training.py makes it, with torch
    rivals.py    what both are held against
    reward.py    what a choice was worth, against the base arm on the same stream
"""
