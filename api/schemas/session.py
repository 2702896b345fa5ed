"""Schemas of the session of a browser."""

from typing import Annotated

from pydantic import ConfigDict, Field

from api.schemas.common import RequestSchema, Schema, Timestamp
from api.scopes import Scope


class Login(RequestSchema):
    """Login of a browser."""

    model_config = ConfigDict(strict=True)

    api_key: Annotated[str, Field(min_length=1, max_length=200, examples=["sml_..."])]
    """The API key."""


class Session(Schema):
    """Who asks, and what it allows."""

    login_required: bool = Field(examples=[True])
    """Whether the service requires API keys. If not, everybody may do everything, and the other values say so."""
    name: str = Field(examples=["control-room"])
    """Name of the API key; empty without one."""
    scopes: list[Scope] = Field(examples=[["read", "label"]])
    """Scopes of the key; `admin` includes every other scope."""
    machines: list[str] = Field(examples=[["hall-3/*"]])
    """Patterns of the machines that the key is bound to; empty for all, if `datasets` is empty too."""
    datasets: list[str] = Field(examples=[[]])
    """Patterns of the datasets that the key is bound to; empty for all, if `machines` is empty too."""
    expires: Timestamp | None
    """End of the session; null for a request with a key, and without required keys."""
