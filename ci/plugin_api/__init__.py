"""The plugin-facing interface: read from the sources, kept as text in `core/plugin_api.lock`, compared, and written up.

`python -m ci.plugin_api` compares the tree with the lock; `--write` renews the lock and `docs/plugin-api.md`;
`--against REF` compares with the lock of a tag or commit. Everything is static: nothing of core is imported.
"""
