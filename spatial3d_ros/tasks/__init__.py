"""From a question in words to tokens, and from the network's output to a typed answer."""
