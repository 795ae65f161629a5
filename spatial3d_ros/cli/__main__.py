"""`python -m spatial3d_ros.cli` is the same as `spatial3d`."""

from spatial3d_ros.cli import main

if __name__ == "__main__":
    main()
