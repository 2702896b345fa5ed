"""``signalml settings``, ``errors``, ``training-options`` and ``openapi``: pages of docs/ made from the code."""

import json

import typer

from api import errors as api_errors
from api import settings as api_settings
from api.main import create_app
from cli import training_options as cli_training_options


def settings() -> None:
    """Print every setting with its default and its meaning (docs/settings.md)."""
    typer.echo(api_settings.render_reference(), nl=False)


def errors() -> None:
    """Print every error code with its HTTP status and its meaning (docs/errors.md)."""
    typer.echo(api_errors.render_reference(), nl=False)


def training_options() -> None:
    """Print every option of a training with its meaning (docs/training-options.md)."""
    typer.echo(cli_training_options.render_reference(), nl=False)


def openapi() -> None:
    """Print the OpenAPI schema of the API (docs/openapi.json)."""
    typer.echo(json.dumps(create_app().openapi(), indent=2, sort_keys=True, ensure_ascii=False))
