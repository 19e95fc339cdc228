"""What steering prefetches is worth, in the replay simulator: python -m bench.control."""
