"""Reports: what became of runs, drawn from their records and from nothing else."""
