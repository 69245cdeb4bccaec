"""`python -m kon`, where the script `kon` is not on the path."""

from kon.cli import main

main()
