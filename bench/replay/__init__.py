"""What each policy is worth in seconds of stall: the predictor's rivals and bounds, replayed by `llmfs/replay/`."""
