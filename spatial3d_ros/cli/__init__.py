"""The commands that a robot needs. `spatial3d --help` is the place to start.

Commands import what they need when they run, so that help is fast and a missing library only
stops the command that needs it. `spatial3d_ros.__main__` adds the commands of `research`.
"""

from __future__ import annotations

import errno
import sys

import typer

from spatial3d_ros.cli import (
    ask,
    check,
    convert,
    demo,
    doctor,
    download,
    explain,
    info,
    map,
    recognise,
    rerun,
    serve,
)
from spatial3d_ros.cli.output import print_error
from spatial3d_ros.doctor import RESEARCH_LIBRARIES
from spatial3d_ros.errors import Spatial3DError

app = typer.Typer(
    name="spatial3d",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Ask a robot with an RGB-D camera where things are and how far apart they are.

    See it work: `spatial3d doctor`, `spatial3d demo`

    Try your own recording: `spatial3d convert FOLDER my.mcap`, `spatial3d check my.mcap`, then
    `spatial3d ask my.mcap "where is the red chair?"`

    Measure it: `spatial3d evaluate rooms`, `spatial3d bench`
    """,
)
app.command("demo")(demo.demo)
app.command("ask")(ask.ask)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("check")(check.check)
app.command("convert")(convert.convert)
app.command("recognise")(recognise.recognise)
app.command("rerun")(rerun.rerun)
app.command("info")(info.info)
app.command("download")(download.download)
app.add_typer(map.app, name="map")
app.command("mcp")(serve.mcp)
app.command("view")(serve.view)


def run() -> None:
    """Run the command line: expected errors become one line and exit code 1."""
    try:
        app()
    except Spatial3DError as error:
        print_error(str(error))
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in RESEARCH_LIBRARIES:
            raise
        print_error(f"{error.name} is not installed: pip install 'spatial3d_ros[research]'")
        sys.exit(1)
    except OSError as error:  # a full disk, a folder of another user
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = ". Free space, or choose another folder" * full
        print_error(f"{where}{error.strerror}{way_out}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
