"""Owns the ways in: the `LLM` class, the command line, the server."""
