"""Networks of a few weights, put into each library's own algorithms."""
