"""Kinds of arguments that several benchmarks take."""

import argparse


def count(text: str) -> int:
    """A number of times, at least one. Raises ArgumentTypeError and ValueError, which argparse tells of."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
