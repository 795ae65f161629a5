"""An experiment: sentences read into typed queries that are answered from the object map.

The robot's part does not use it yet: on sentence templates that training never saw the reader finds
69 % of the intents (docs/experiments/query_reader.md).
"""
