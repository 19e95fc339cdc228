"""Learns what will be read next, and plans for it. Knows nothing of mounts, caches or event loops."""
