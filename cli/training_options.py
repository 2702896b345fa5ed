"""Command-line options of a training, derived from :class:`~ml.training.choices.TrainingChoices`."""

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ml.errors import InvalidParameter
from ml.training.choices import FEWEST_FAULT_GROUPS, MOST_FAULT_GROUPS, TrainingChoices

# Options with another name on the command line. For ``learn``, there are the flags --detector and --both.
FLAGS = {"engines": "--engine", "snr_db": "--snr", "training_kind": "--kind"}
OF_CLASSIFIERS = ("epochs", "copies", "labels", "groups")
NOT_DERIVED = ("learn",)
INTRODUCTION = """\
# Options of a training

`signalml train` takes the options of the first column, and `POST /v1/jobs/retraining` the parameters of the second
column. `signalml train` also has `--processes`, `--promote` and `--if-better`: see [Training](training.md).

`signalml training-options` prints this page.

| command line | job parameter | meaning |
| --- | --- | --- |
"""


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the ``**choices`` of a command with one option for each training choice."""
    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    derived = [
        _parameter(name, field) for name, field in TrainingChoices.model_fields.items() if name not in NOT_DERIVED
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *derived)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def render_reference() -> str:
    """Return the page docs/training-options.md: a table of all options."""
    rows = []
    for name, field in TrainingChoices.model_fields.items():
        flag = f"`{flag_of(name)}`"
        if field.annotation is bool:
            flag = f"`{flag_of(name)}`, `{_off_flag_of(name)}`"
        elif name in NOT_DERIVED:
            flag = "`--detector`, `--both`"
        rows.append(f"| {flag} | `{name}` | {' '.join((field.description or '').split())} |\n")
    return INTRODUCTION + "".join(rows)


def flag_of(name: str) -> str:
    """Return the command-line form of an option, such as ``--held-out``."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def _off_flag_of(name: str) -> str:
    """Return the form that turns an option off, such as ``--no-refit``."""
    return flag_of(name).replace("--", "--no-", 1)


def choices_from(given: Mapping[str, Any], *, detector: bool, both: bool) -> dict[str, Any]:
    """Return the training choices from the options of the command line.

    Raises:
        InvalidParameter: two options contradict each other, or an option has no effect.
    """
    if detector and both:
        raise InvalidParameter("--detector and --both were given; one of them was expected.")
    changed = {name: value for name, value in given.items() if value != _default(TrainingChoices.model_fields[name])}
    if detector and (idle := [flag_of(name) for name in OF_CLASSIFIERS if name in changed]):
        raise InvalidParameter(
            f"{', '.join(idle)} has no effect with --detector, which trains no classifier; --both was expected."
        )
    if "engines" in changed and not (detector or both):
        raise InvalidParameter("--engine needs a detector; --detector or --both was expected, too.")
    if "reference_channel" in changed and not (detector or both):
        raise InvalidParameter("--reference-channel needs a detector; --detector or --both was expected, too.")
    if "held_out" in changed and given["split"] != "machine":
        raise InvalidParameter(f"--held-out {given['held_out']} needs another split; --split machine was expected.")
    learn = "detector" if detector else "both" if both else "classifier"
    return dict(given) | {"learn": learn, "groups": _groups(given["groups"]), "engines": given["engines"] or None}


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    limits = {
        argument: getattr(each, bound)
        for each in field.metadata
        for bound, argument in (("ge", "min"), ("le", "max"))
        if hasattr(each, bound)
    }
    flag = f"{flag_of(name)}/{_off_flag_of(name)}" if field.annotation is bool else flag_of(name)
    option = typer.Option(flag, help=field.description, **limits)
    annotation: Any = Annotated[_type_of(field), option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=annotation)


def _type_of(field: FieldInfo) -> Any:
    """Return the type for typer, without pydantic's limits.

    Literals in a union, and items of a list, become text.
    """
    if get_origin(field.annotation) is not Union and not isinstance(field.annotation, UnionType):
        return field.annotation
    types = [get_args(each)[0] if get_origin(each) is Annotated else each for each in get_args(field.annotation)]
    if any(get_origin(each) is Literal for each in types):
        return str
    types = [list[str] if get_origin(each) is list else each for each in types]
    return Union[tuple(types)]  # noqa: UP007 - made of values


def _default(field: FieldInfo) -> Any:
    return str(field.default) if _type_of(field) is str else field.default


def _groups(text: str) -> int | str:
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InvalidParameter(
            f"--groups is {text!r}; a number from {FEWEST_FAULT_GROUPS} to {MOST_FAULT_GROUPS}, or auto, was expected."
        )
    return int(text)
