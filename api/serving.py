"""Champion that the API serves."""

import asyncio

from api.errors import NoModel
from ml.models.live_model import LiveModel
from ml.models.predictor import Predictor


def require_predictor(live: LiveModel) -> Predictor:
    """Return the predictor of the model that answers.

    Raises:
        NoModel: no model is loaded yet.
    """
    if live.current is None:
        raise NoModel(live.problem or "No model is loaded yet.")
    return live.current


async def poll_forever(live: LiveModel, interval_s: float) -> None:
    """Refresh the model every ``interval_s`` seconds."""
    while True:
        await asyncio.sleep(interval_s)
        await asyncio.to_thread(live.refresh)
