"""``signalml simulate``: recordings of simulated fans."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cli.progress import show_progress
from ml.dataset.simulate import simulator
from ml.dataset.simulate.plan import BLEED_DB, SimulationPlan
from ml.errors import InvalidParameter

# Options with another name than their parameter of the plan.
OPTIONS = {"duration_s": "--duration", "snr_db": "--snr", "bleed_db": "--bleed"}


def simulate(
    target: Annotated[Path, typer.Argument(help="Folder to create. It must be empty if it exists.")],
    machines: Annotated[int, typer.Option(help="Number of fans, each with its own motor, blades and room.")] = 4,
    sessions: Annotated[
        int, typer.Option(help="Sessions of each fault of each fan; the healthy fan has three times as many.")
    ] = 4,
    recordings: Annotated[int, typer.Option(help="Recordings in a session.")] = 6,
    snr: Annotated[list[float] | None, typer.Option(help="Signal-to-noise ratio in dB; may be repeated.")] = None,
    channels: Annotated[int, typer.Option(help="Number of microphones, 1 to 8.")] = 1,
    reference: Annotated[
        bool, typer.Option("--reference", help="Add a channel, the last one: a reference microphone in the hall.")
    ] = False,
    bleed: Annotated[
        float,
        typer.Option(help="Level of the machine at the reference, in dB relative to the first channel; -60 to 0."),
    ] = BLEED_DB,
    duration: Annotated[float, typer.Option(help="Duration of a recording, in seconds.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same recordings.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
) -> None:
    """Make recordings of simulated fans: healthy, out of balance, clogged, or with a bad supply.

    The folder has the layout of MIMII.
    """
    try:
        plan = SimulationPlan(
            machines=machines,
            sessions=sessions,
            recordings=recordings,
            snr_db=tuple(snr) if snr else SimulationPlan().snr_db,
            channels=channels,
            duration_s=duration,
            reference=reference,
            bleed_db=bleed,
        )
    except InvalidParameter as error:
        raise InvalidParameter(re.sub(r"^Simulation: (\w+)", _option, str(error))) from error
    with show_progress() as report:
        simulator.simulate(target, plan=plan, seed=seed, processes=processes, report=report)
    fans = "1 fan" if machines == 1 else f"{machines} fans"
    typer.echo(f"{plan.files} recordings, {fans}, {plan.bytes / 1e6:,.0f} MB, in {target}")
    options = f"--detector --reference-channel {channels}" if reference else "--name fans"
    typer.echo(f"next:  signalml inspect {target}   signalml train {target} {options}")


def _option(setting: re.Match[str]) -> str:
    return OPTIONS.get(setting[1], f"--{setting[1]}")
