"""Kernels in C++ for what plain torch does slowly on a CPU. Each has its twin in plain torch, which it must equal, and falls back to it."""
