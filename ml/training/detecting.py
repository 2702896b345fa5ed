"""Healthy recordings -> a detector, measured on recordings that it has not learned from."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.listing import natural
from ml.dataset.splitting.duplicates import without_copies
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
from ml.detectors.detector import Detector, Novelty
from ml.detectors.engines.registry import by_name
from ml.detectors.fitting import fit
from ml.detectors.parallel_spectra import Source, listen
from ml.detectors.reference import Healthy
from ml.detectors.spectra import Heard
from ml.errors import OneClassOnly, TooFewRecordings
from ml.features.feature_specs import detector_spec
from ml.features.spec import FeatureSpec
from ml.system.progress import Progress, Report
from ml.training.options import Options

FITTING = "detector"
TIMES = attrgetter("times")
# Of one machine: three or four are learned from, and the others are held out or stand between the sides.
FEWEST_HEALTHY = 6
# So many times as far from healthy as any fault that was learned is none of them (decision 14).
FARTHER = 1.5


@dataclass(frozen=True, slots=True)
class Detecting:
    """What a detector is made of: the recordings, and how they are heard.

    Attributes:
        dataset: the recordings.
        spec: what cuts them into windows: the bundle's.
        options: what was asked for.
        processes, report: for whatever takes long.
    """

    dataset: Dataset
    spec: FeatureSpec
    options: Options
    processes: int | None
    report: Report

    def detector(self, entries: Sequence[Entry]) -> Detector:
        """A detector of the healthy ones of some recordings.

        Raises:
            TooFewRecordings: fewer than three healthy ones.
            AudioError: a recording cannot be decoded any more, with its path.
        """
        spec = detector_spec(self.spec)
        recordings = [
            Healthy(
                clips=windows,
                machine=entry.machine_name,
                session=entry.group,
                name=entry.path,
                level_dbfs=entry.level_dbfs,
                clipped_share=entry.clipped_share,
            )
            for entry, windows in self._heard(spec, entries, NORMAL)
        ]
        engines = [by_name(name) for name in self.options.engines]

        def told(done: int, fits: int) -> None:
            self.report(Progress(FITTING, done, fits))

        return fit(spec, engines, recordings, told)

    def faults(self, detector: Detector, entries: Sequence[Entry]) -> list[tuple[Entry, Novelty]]:
        """The abnormal ones of some recordings, and how far their worst windows are from healthy.

        Raises:
            AudioError: a recording cannot be decoded any more, with its path.
        """
        return [
            (entry, max((detector.measure(window, entry.machine_name) for window in windows), key=TIMES))
            for entry, windows in self._heard(detector.spec, entries, ABNORMAL)
        ]

    def _heard(
        self, spec: FeatureSpec, entries: Sequence[Entry], label: str
    ) -> Iterator[tuple[Entry, tuple[Heard, ...]]]:
        """Recordings of a label, and what a detector hears in each."""
        chosen = in_time([entry for entry in entries if entry.label == label and sounds(entry)])
        sources = [Source(self.dataset.file(entry), entry.path) for entry in chosen]
        clips = listen(spec, sources, cut_by=self.spec, processes=self.processes, report=self.report)
        return zip(chosen, clips, strict=True)


def farthest(faults: Iterable[tuple[Entry, Novelty]]) -> float:
    """The score, 0 to 1, up to which a sound may be one of these faults: half as far again as any of them."""
    found = max((novelty for _, novelty in faults), key=TIMES, default=None)
    return 0.0 if found is None else replace(found, times=FARTHER * found.times).score


def sounds(entry: Entry) -> bool:
    """Whether there is anything in it: a dead input is no machine, healthy or not."""
    return entry.level_dbfs is not None


def in_time(entries: Iterable[Entry]) -> list[Entry]:
    """Recordings in the order they were made in, by their names: neighbours in time are then left out together.

    The SNR versions of a machine are of the same recordings: they go side by side, each at its place among those of its
    SNR, so that none is measured by what has learned from another version of it.
    """
    in_order = sorted(entries, key=lambda entry: natural(entry.path))
    versions: defaultdict[tuple[str, float | None], list[Entry]] = defaultdict(list)
    for entry in in_order:
        versions[entry.machine_name, entry.snr_db].append(entry)
    if len(versions) == len({machine for machine, _ in versions}):
        return in_order
    place = {entry.path: number / len(some) for some in versions.values() for number, entry in enumerate(some)}
    return sorted(in_order, key=lambda entry: place[entry.path])


def split_healthy(dataset: Dataset, options: Options) -> Split:
    """Divide the healthy recordings; every abnormal one is on the test side, since none is learned from.

    An abnormal recording may be of a session that healthy ones are learned from: it is still a sound that was not.
    Where a machine is held out, only that machine's are judged: what is measured is a machine that was never heard.

    Raises:
        OneClassOnly: no healthy recording.
        TooFewRecordings: fewer than :data:`FEWEST_HEALTHY`; and see :func:`ml.dataset.split`.
        SplitImpossible: see there.
    """
    healthy = tuple(entry for entry in dataset.entries if entry.label == NORMAL)
    if not healthy:
        raise OneClassOnly(
            f"All {len(dataset.entries)} recordings in {dataset.name} are abnormal; a detector learns from healthy "
            "ones. Add a folder or rows of them."
        )
    if len(healthy) < FEWEST_HEALTHY:
        raise TooFewRecordings(
            f"{len(healthy)} healthy recordings in {dataset.name}; a detector is trained on {FEWEST_HEALTHY} at least, "
            "since some are held out to measure it, and on a few dozen of each machine well."
        )
    sides = split(replace(dataset, entries=healthy), method=options.split, held_out=options.held_out, seed=options.seed)
    abnormal, left_out = without_copies([entry for entry in dataset.entries if entry.label == ABNORMAL])
    if sides.method == "machine":
        held_out = {(entry.machine, entry.machine_id) for entry in sides.test}
        known = [entry for entry in abnormal if (entry.machine, entry.machine_id) not in held_out]
        left_out += [(entry, "Abnormal, of a machine that is not held out.") for entry in known]
        abnormal = [entry for entry in abnormal if (entry.machine, entry.machine_id) in held_out]
    test = sorted((*sides.test, *abnormal), key=lambda entry: natural(entry.path))
    return replace(sides, test=tuple(test), left_out=(*sides.left_out, *left_out))


def counted(entries: Iterable[Entry]) -> dict[str, int]:
    """How many recordings of each machine are learned from, for the card."""
    names = (entry.machine_name or "unnamed" for entry in entries if entry.label == NORMAL and sounds(entry))
    return dict(Counter(names))
