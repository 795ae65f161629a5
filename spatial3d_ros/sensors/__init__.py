"""From sensor messages to frames: decoding, matching, poses. Reads fields of messages, imports no
ROS.
"""
