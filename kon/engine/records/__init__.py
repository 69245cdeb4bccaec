"""Records are written here: events, and the files of a run."""
