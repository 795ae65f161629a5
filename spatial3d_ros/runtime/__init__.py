"""What runs a node without ROS: parameters, worker threads, statistics."""
