"""The experiment file: what to run, read, checked, and laid out as runs."""

from kon.experiment.cells import Cell, Experiment
from kon.experiment.load import load, loads
from kon.experiment.single import single
from kon.experiment.workload import Workload

__all__ = ["Cell", "Experiment", "Workload", "load", "loads", "single"]
