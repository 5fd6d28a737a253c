"""Ranks: who they are and how they talk."""
