"""Kinds of arguments that several benchmarks take."""

import argparse
from pathlib import Path


def count(text: str) -> int:
    """A number of times, at least one. Raises ArgumentTypeError and ValueError, which argparse tells of."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def why_no_version(checkout: Path) -> str | None:
    """What is wrong with a directory that was named as another version of llmfs; None where it is one."""
    if (checkout / "llmfs" / "__main__.py").is_file():
        return None
    return f"{checkout} has no llmfs: name a checkout of another version"
