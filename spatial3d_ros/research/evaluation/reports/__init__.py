"""Reports of bag replays and sections of the results page."""
