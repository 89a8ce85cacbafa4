"""Formula checks that any implementation can be held against."""
