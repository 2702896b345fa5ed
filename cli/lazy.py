"""Commands whose modules are imported only when they run, so that the help starts fast."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli.output import describe_validation_error

INTERRUPTED = 130  # exit status of a command that Ctrl-C ended: 128 and the number of the signal
MARKUP: Literal["markdown"] = "markdown"


class CommandSpec(NamedTuple):
    """Entry of a command in the list of commands.

    Attributes:
        name: name of the command.
        target: ``module:attribute`` of its function or, if it has subcommands, of its Typer application.
        summary: first sentence of its help.
        panel: heading in the list.
        examples: examples at the end of its help.
    """

    name: str
    target: str
    summary: str
    panel: str
    examples: str | None = None

    def load(self) -> Any:
        """Import the module and return the command."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_command(found)
        application = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
        application.command(epilog=self.examples)(found)
        return get_command(application)


class LazyCommand(TyperCommand):
    """Command that imports its module only when it runs or prints its help."""

    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(spec.name, help=spec.summary, rich_help_panel=spec.panel)
        self._spec = spec

    def load(self) -> Any:
        """Import the module and return its command."""
        return self._spec.load()

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return a context of the module's command."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class DefaultGroup(TyperGroup):
    """Group of commands whose first one is run if the first argument is no command: ``machines fan-3``.

    The first command is hidden in the list of commands, because its arguments are those of the group.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the first command before its arguments."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class LazyGroup(TyperGroup):
    """Group of lazy commands. It reports an invalid value in one sentence.

    Subclasses list the commands in ``specs``, in the order of the help.
    """

    specs: Sequence[CommandSpec] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for spec in self.specs:
            self.add_command(LazyCommand(spec))

    def invoke(self, ctx: Any) -> Any:
        """Run the requested command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = describe_validation_error(error.__cause__.errors()[0])
            raise
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(INTERRUPTED) from interrupt
