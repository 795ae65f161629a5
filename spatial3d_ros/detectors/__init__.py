"""A detector for any word, beside the network: prompts, the model behind it, masks. No ROS."""
