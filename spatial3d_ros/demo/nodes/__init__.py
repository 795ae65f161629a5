"""ROS processes of the demo and of benchmarks: a bag player and query clients."""
