"""What outlives a run: its journal, and a cache of what is where. Hints: losing them costs time, never an image."""
