"""A detector for any word, beside the network: its prompts, and the model behind it. No ROS."""
