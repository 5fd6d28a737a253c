"""Models: ops, layers, families as data, weight loading."""
