"""All faults, in the order of the table."""

# Importing a module registers its faults, so the order of these lines is that of the table.
from spatial3d_ros.research.stress.faults import streams  # isort: skip
from spatial3d_ros.research.stress.faults import sensors  # isort: skip
from spatial3d_ros.research.stress.faults import questions  # isort: skip
from spatial3d_ros.research.stress.faults import machine  # isort: skip
from spatial3d_ros.research.stress.faults import memory  # isort: skip
from spatial3d_ros.research.stress.faults import servers  # isort: skip
from spatial3d_ros.research.stress.faults.run import run_faults

__all__ = ["machine", "memory", "questions", "run_faults", "sensors", "servers", "streams"]
