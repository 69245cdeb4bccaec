"""Promises held to account: the real client, workers and strategies under every fault, in virtual time."""
