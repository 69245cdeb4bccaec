"""A task's way: client, queue, worker (intake, executor, settler), answers."""
