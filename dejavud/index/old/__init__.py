"""Databases of dejavu and its forks, read to be brought over."""
