"""What the robot has seen: frames, which of them to keep, and the objects found in them."""
