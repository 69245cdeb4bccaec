"""The kinds of work that come with kon."""
