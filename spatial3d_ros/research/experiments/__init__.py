"""Ablations: variants of the network, trained over seeds and compared; robustness tests."""
