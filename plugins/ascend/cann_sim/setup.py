"""Builds in a folder of its own for each run: a module that was deleted must not come back from what an earlier build left.

Everything else about this package stands in pyproject.toml.
"""

from __future__ import annotations

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory() as folder:
    setup(options={"build": {"build_base": folder}})
