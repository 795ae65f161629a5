"""Everything that is not needed on a robot: generated data, training, evaluation, stress tests.

Modules outside this package import nothing from it; `spatial3d_ros.__main__` joins the commands
of both.
"""
