"""Model families as data, the one decoder that they share, and the registry. Importing this package imports no torch."""
