"""Commands whose modules are imported only when they run, so that help and light commands start fast."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli.output import describe_validation_error

MARKUP: Literal["markdown"] = "markdown"


class CommandSpec(NamedTuple):
    """What the list of commands needs to know of one.

    Attributes:
        name: as it is typed.
        target: ``module:attribute`` of its function or, where it has commands of its own, of its Typer application.
        summary: one sentence, which its own help begins with.
        panel: heading that it stands under in the list.
        examples: shown at the end of its help.
    """

    name: str
    target: str
    summary: str
    panel: str
    examples: str | None = None

    def load(self) -> Any:
        """Import the module and make the command."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_command(found)
        application = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
        application.command(epilog=self.examples)(found)
        return get_command(application)


class LazyCommand(TyperCommand):
    """A command in the list; it becomes the command of its module when it is run or asked for help."""

    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(spec.name, help=spec.summary, rich_help_panel=spec.panel)
        self._spec = spec

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context of the command of the module."""
        return self._spec.load().make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group of lazy commands. Says what is wrong with a value in plain words, and which value it is.

    Subclasses name the commands in ``specs``, in the order of the list.
    """

    specs: Sequence[CommandSpec] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for spec in self.specs:
            self.add_command(LazyCommand(spec))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = describe_validation_error(error.__cause__.errors()[0])
            raise
