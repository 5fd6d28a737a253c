"""The rehearsal of a whole history: releases of core, cpu_ref and a scaffolded plugin in a scratch clone, one of them breaking.

`scene` makes the clone, `expected` says what the matrix must find there, `__main__` runs matrix, bisect and a release in it.
"""
