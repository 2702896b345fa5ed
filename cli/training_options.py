"""The options of a training on the command line, derived from the one place that declares them."""

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ml.errors import InvalidParameter
from ml.training.choices import TrainingChoices

# Options whose command-line form differs from their name. ``learn`` is a flag for each of its values.
FLAGS = {"engines": "--engine", "snr_db": "--snr", "training_kind": "--kind"}
OF_CLASSIFIERS = ("epochs", "copies", "labels", "groups")
NOT_DERIVED = ("learn",)


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each training option, in the place of its ``**choices``."""
    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    derived = [
        _parameter(name, field) for name, field in TrainingChoices.model_fields.items() if name not in NOT_DERIVED
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *derived)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def flag_of(name: str) -> str:
    """How an option is written: ``--held-out``."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def choices_from(given: Mapping[str, Any], *, detector: bool, both: bool) -> dict[str, Any]:
    """Training choices as the command line gave them.

    Raises:
        InvalidParameter: options that contradict each other, or that change nothing.
    """
    if detector and both:
        raise InvalidParameter("--detector and --both were given; one of them was expected.")
    changed = {name: value for name, value in given.items() if value != _default(TrainingChoices.model_fields[name])}
    if detector and (idle := [flag_of(name) for name in OF_CLASSIFIERS if name in changed]):
        raise InvalidParameter(
            f"{', '.join(idle)} changes nothing with --detector: it fits no classifier. --both does."
        )
    if "engines" in changed and not (detector or both):
        raise InvalidParameter("--engine says what a detector is made of; --detector or --both was expected beside it.")
    if "held_out" in changed and given["split"] != "machine":
        raise InvalidParameter(f"--held-out {given['held_out']} holds a machine out; add --split machine.")
    learn = "detector" if detector else "both" if both else "classifier"
    return dict(given) | {"learn": learn, "groups": _groups(given["groups"]), "engines": given["engines"] or None}


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    limits = {
        argument: getattr(each, bound)
        for each in field.metadata
        for bound, argument in (("ge", "min"), ("le", "max"))
        if hasattr(each, bound)
    }
    flag = f"{flag_of(name)}/--no-{name}" if field.annotation is bool else flag_of(name)
    option = typer.Option(flag, help=field.description, **limits)
    annotation: Any = Annotated[_type_of(field), option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=annotation)


def _type_of(field: FieldInfo) -> Any:
    """The type without pydantic's limits inside it; a number or a word is a text, and so is each item of a list."""
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
        raise InvalidParameter(f"{text!r} groups; a number from 2 to 9, or auto, was expected.")
    return int(text)
