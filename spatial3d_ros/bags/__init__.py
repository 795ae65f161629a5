"""ROS bags and folders of RGB-D frames: reading, writing, checking and converting."""
