"""Many repositories: what `update`, `check` and `adopt` do to one of them, over a whole group."""
