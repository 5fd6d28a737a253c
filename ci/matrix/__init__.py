"""The matrix: which combinations of core, plugin, Python, torch and transformers there are, and how each one is tested.

`ci/matrix.toml` says what is supported; `nox` makes a session of every cell. The rooms, lowest first: `sources` (a package
at a release, a commit or in the tree, and its wheel), `declared` (the file), `cells`, `machine` (what runs here), `places`
(an environment per cell), `locks`, `running`, `verdicts`, `results`, `table` and `page` (what came out),
`changes`, `affected`, `bisect`.
"""
