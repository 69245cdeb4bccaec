"""The story of one task, told from records."""
