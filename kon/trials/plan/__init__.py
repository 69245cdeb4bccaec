"""Plans: how long an experiment would take on a fleet, and what it would cost, before anyone pays.

`forecast` simulates it, whole or in part. `bill` says what that costs, and `table` which forecast to take.
"""
