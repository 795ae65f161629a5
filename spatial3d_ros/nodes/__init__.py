"""The ROS side: messages in, typed frames to the engine, typed answers out.

Only this folder knows ROS, and inside it only the files that talk to a node import it. The decoder,
the synchroniser, the pose track and the ingest pipeline take anything shaped like a message.
"""
