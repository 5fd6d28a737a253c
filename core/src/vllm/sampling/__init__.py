"""Sampling: logits to tokens, and what constrains it."""
