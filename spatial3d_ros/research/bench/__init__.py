"""Speed and memory of nodes and network."""
