"""The version of the program that is running."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("effortstream")
except PackageNotFoundError:
    # Run from a source tree that was never installed
    VERSION = "0+source"
