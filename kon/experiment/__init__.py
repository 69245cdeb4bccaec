"""The experiment file: what to run, read and checked."""
