"""Families of the one decoder: each file maps a Hugging Face config to a DecoderSpec, and checkpoint names to parameters."""
