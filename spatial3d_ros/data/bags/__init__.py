"""Recordings: ROS bags of both generations, folders of images, point clouds."""
