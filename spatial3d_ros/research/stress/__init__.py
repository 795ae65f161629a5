"""Whether the nodes stay up and keep what they know: hours of streams, and every fault we know.

ROS is not imported here: nodes, camera and person are processes that are told what to do.
"""
