"""Attention backends: the contract in abstract."""
