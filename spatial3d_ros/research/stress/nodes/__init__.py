"""ROS processes with injected faults, and a load client; driven over JSON lines."""
