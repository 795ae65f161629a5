"""Stress tests of running nodes: a soak under load, and injected faults.

ROS is not imported here. The nodes, the bag player and the client are separate processes, called
over JSON lines.
"""
