"""Mounts a slow directory, serves it, and has ready what will be asked for next."""

__version__ = "0.1.0"
