"""Benchmark: how long a round takes in which there is nothing to compute. See benchmarks/deploy.py."""
