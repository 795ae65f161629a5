"""The parts of a node that need no ROS: parameters, worker threads, statistics."""
