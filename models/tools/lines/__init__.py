"""Recognisers of our own: rendered lines, three networks of one size, their training, their export. README.md has the map."""
