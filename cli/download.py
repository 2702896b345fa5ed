"""``signalml download``: public recordings, unpacked in a layout that the other commands read."""

from pathlib import Path
from typing import Annotated

import typer

from cli.lazy import MARKUP
from cli.progress import show_progress
from ml.dataset.download.mimii import SOURCE, download_mimii

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=MARKUP, help="Download public recordings, check them and unpack them."
)


@app.callback()
def _keep_command_name() -> None:
    """Do nothing. Without a callback, an application with one command would drop the name of the command."""


@app.command(epilog="Example:  `signalml download mimii --machine fan --snr 6`,  then  `signalml inspect data/mimii`")
def mimii(
    machine: Annotated[list[str], typer.Option(help="fan, pump, slider or valve; may be given several times.")],
    snr: Annotated[list[int], typer.Option(help="6, 0 or -6 dB; may be given several times.")],
    to: Annotated[Path, typer.Option(help="Folder for the recordings.")] = Path("data/mimii"),
    source: Annotated[str, typer.Option(help="Address of the JSON of the record, or of a mirror.")] = SOURCE,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep the zip files.")] = False,
) -> None:
    """Download MIMII (Hitachi, 2019; CC BY-SA 4.0): 8 to 11 GB for each kind of machine and SNR.

    If a download is interrupted, the same command continues it.
    """
    with show_progress() as report:
        new = download_mimii(
            to, machines=machine, snr_db=snr, source=source, keep_archives=keep_archives, report=report
        )
    typer.echo(f"{', '.join(new)} in {to}" if new else f"All recordings are in {to} already.")
    typer.echo(f"next:  signalml inspect {to}   signalml train {to} --name mimii")
