"""Home of the commands: private, unless it is shared on purpose."""

from api.settings import Settings
from ml.system.private import create_private, make_private


def protect_home(settings: Settings) -> None:
    """Make the home of a service private, and what this process and its children write."""
    if not settings.shared_home:
        make_private(settings.home)


def created_home() -> Settings:
    """Return the settings, after the home was made, so that only its user can read it."""
    settings = Settings()
    if not settings.shared_home:
        create_private(settings.home)
    return settings
