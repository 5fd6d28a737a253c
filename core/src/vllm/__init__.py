"""LLM inference and serving with vLLM's user interface; the hardware is a plugin. Importing this package imports nothing heavy."""
