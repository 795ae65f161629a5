"""The ROS nodes of a robot: messages in, typed frames to the engine, answers out as messages.

Only this folder imports rclpy and message packages. The decoders, the synchronizer and the frame
pipeline in `sensors/` take any object with the fields of the message.
"""
