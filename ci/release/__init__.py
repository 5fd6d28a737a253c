"""The release of one package: from a clean clone to a tagged commit and a folder of checked files, and nothing uploaded.

`__main__` is the command, `story` the order of its steps; every other module is one step.
"""
