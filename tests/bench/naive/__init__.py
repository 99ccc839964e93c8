"""The naive peer: the same job, written by hand from the Channels tutorial. `systems.Naive` says what it does."""
