"""Cameras, poses, boxes and voxels: pure functions, in metres and radians."""
