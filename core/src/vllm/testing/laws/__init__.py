"""The laws, one file per area."""
