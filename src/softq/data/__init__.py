"""Data: the replay ring."""
