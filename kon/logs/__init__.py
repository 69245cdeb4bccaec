"""What kon writes to stderr for programs to read: one JSON object a line, on request."""
