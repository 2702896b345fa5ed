"""``level``: how loud a clip is, for whoever knows that their microphone is never moved."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.novelty.engine import State, centres
from ml.novelty.heard import Heard

# No machine's loudness is trusted to be steadier than this from one recording to the next.
STEADY_LEVEL_DB = 1.0


class Level:
    """Standardised difference in loudness; not in the default, since a gain is no fault."""

    name: ClassVar[str] = "level"

    def fit(self, clips: Sequence[Heard], machines: NDArray[np.int64]) -> State:
        """See :class:`ml.novelty.engine.Engine`; the variance is shared by the machines."""
        levels = np.array([[clip.level_db] for clip in clips])
        means = centres(levels, machines)
        variance = np.square(levels - means[machines]).sum() / max(1, len(clips) - len(means)) + STEADY_LEVEL_DB**2
        return {"centres": means.astype(np.float32), "variance": np.array([variance], np.float32)}

    def score(self, state: State, clip: Heard) -> NDArray[np.float64]:
        """Squared difference in dB over variance, for each machine."""
        away = clip.level_db - state["centres"][:, 0].astype(np.float64)
        return np.asarray(np.square(away) / state["variance"][0] + np.finfo(np.float32).tiny)
