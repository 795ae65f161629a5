"""`spatial3d`, or `python -m spatial3d_ros`: the robot's commands together with those of research.

The only module that knows both.
"""

import os

from spatial3d_ros.cli import app, run
from spatial3d_ros.research.cli import add_commands

__all__ = ["app", "main"]

add_commands(app)


def main() -> None:
    """Entry point of the program. torchrun is told why a process ends, so that its summary names
    that process and its reason when it stops the others.
    """
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import record

        record(app)()
    else:
        run()


if __name__ == "__main__":
    main()
