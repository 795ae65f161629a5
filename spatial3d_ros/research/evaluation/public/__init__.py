"""Public benchmarks: the network or given predictions against their official metrics."""
