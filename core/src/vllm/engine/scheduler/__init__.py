"""The one token-based scheduler (no torch)."""
