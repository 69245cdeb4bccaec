"""The reader of records: what became of tasks, from the files of a run and from nothing else."""
