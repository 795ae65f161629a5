"""Every fault that the nodes must survive, in the order of the table."""

# Importing a module puts its faults into the list, so the order of the lines is that of the table.
from spatial3d_ros.research.stress.faults import streams  # isort: skip
from spatial3d_ros.research.stress.faults import sensors  # isort: skip
from spatial3d_ros.research.stress.faults import questions  # isort: skip
from spatial3d_ros.research.stress.faults import machine  # isort: skip
from spatial3d_ros.research.stress.faults.run import run_faults

__all__ = ["machine", "questions", "run_faults", "sensors", "streams"]
