"""Options that name the topics of a recording, where guessing them is not enough."""

from __future__ import annotations

from typing import Annotated

import typer

ColorTopic = Annotated[str | None, typer.Option(help="Topic of colour images.")]
DepthTopic = Annotated[str | None, typer.Option(help="Topic of depth images.")]
InfoTopic = Annotated[str | None, typer.Option(help="Topic of the calibration.")]
PoseTopic = Annotated[str | None, typer.Option(help="Topic of PoseStamped, Odometry or TF (/tf).")]
SyncSlop = Annotated[float, typer.Option(help="Colour and depth may be so far apart, seconds.")]
