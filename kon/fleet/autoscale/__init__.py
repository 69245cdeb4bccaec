"""How many hosts a fleet should have, decided look by look (`kon autoscale`)."""

from kon.fleet.autoscale.policy import Decision, Observation, Policy, PolicyState, ScaleRule, decide

__all__ = ["Decision", "Observation", "Policy", "PolicyState", "ScaleRule", "decide"]
