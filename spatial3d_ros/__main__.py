"""`spatial3d`, or `python -m spatial3d_ros`: the robot's commands together with those of research.

The only module that knows both.
"""

from spatial3d_ros.cli import app, run
from spatial3d_ros.research.cli import add_commands

__all__ = ["app", "main"]

add_commands(app)


def main() -> None:
    """Entry point of the program."""
    run()


if __name__ == "__main__":
    main()
