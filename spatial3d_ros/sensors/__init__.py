"""From sensor messages to frames: decoding, synchronising, poses. Imports no ROS."""
