"""Attention: the layer that models call, and the backends that platforms supply."""
