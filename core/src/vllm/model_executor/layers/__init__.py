"""Layers that models are made of, sharded over the tensor-parallel group from the start."""
