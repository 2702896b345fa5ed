"""``signalml simulate``: recordings of fans that never existed, to try everything else on."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cli.progress import show_progress
from ml.dataset.simulate import simulator
from ml.dataset.simulate.plan import SimulationPlan
from ml.errors import InvalidParameter

# Where they are not called as what they set in a plan.
OPTIONS = {"duration_s": "--duration", "snr_db": "--snr"}


def simulate(
    target: Annotated[Path, typer.Argument(help="The folder to make; it must not exist, or be empty.")],
    machines: Annotated[int, typer.Option(help="Fans, each with a motor, blades and a room of its own.")] = 4,
    sessions: Annotated[
        int, typer.Option(help="Recording sessions of each fault of each fan; three times as many of the healthy fan.")
    ] = 4,
    recordings: Annotated[int, typer.Option(help="Recordings in a session.")] = 6,
    snr: Annotated[
        list[float] | None, typer.Option(help="Signal-to-noise ratio in dB; may be given several times.")
    ] = None,
    channels: Annotated[int, typer.Option(help="Microphones, 1 to 8.")] = 1,
    duration: Annotated[float, typer.Option(help="Seconds per recording.")] = 10.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same recordings.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; else one per core.")] = None,
) -> None:
    """Make recordings of simulated fans: healthy, out of balance, clogged or on a bad supply, in MIMII's layout."""
    try:
        plan = SimulationPlan(
            machines=machines,
            sessions=sessions,
            recordings=recordings,
            snr_db=tuple(snr) if snr else SimulationPlan().snr_db,
            channels=channels,
            duration_s=duration,
        )
    except InvalidParameter as error:
        raise InvalidParameter(re.sub(r"^Simulation: (\w+)", _option, str(error))) from error
    with show_progress() as report:
        simulator.simulate(target, plan=plan, seed=seed, processes=processes, report=report)
    fans = "1 fan" if machines == 1 else f"{machines} fans"
    typer.echo(f"{plan.files} recordings, {fans}, {plan.bytes / 1e6:,.0f} MB, in {target}")
    typer.echo(f"next:  signalml inspect {target}   signalml train {target} --name fans")


def _option(setting: re.Match[str]) -> str:
    return OPTIONS.get(setting[1], f"--{setting[1]}")
