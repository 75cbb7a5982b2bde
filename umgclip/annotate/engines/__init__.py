"""Engines that run workers over shards: processes on this machine, or Ray Data on one or many machines."""
