"""Values and abstract classes, and nothing that runs: every room stands on it."""
