"""What is tried in the simulator before anyone pays: `prove`, `plan`, `calibrate`."""
