"""Who starts a run, where its workers live, and how it is resumed, paused, limited and ended."""
