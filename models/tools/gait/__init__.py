"""The gait student: synthetic walkers, the network, its training. `../export_gait.py` makes the model folder from it."""
