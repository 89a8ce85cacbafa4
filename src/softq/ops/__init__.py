"""The maths: arrays in, arrays out. No networks, no configs."""
