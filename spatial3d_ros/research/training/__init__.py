"""Training of the network: samples, losses, loop."""
