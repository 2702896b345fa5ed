"""``python -m benchmarks.recipes RECORDINGS``: candidates of features and networks on honest folds, as a table.

RECORDINGS holds ``pc_fan``, ``mimii`` and ``uav_propeller``. Folds are by recording block, contiguous block and flight;
nothing of a fold's test side is fitted, scaled or stopped by. Test clips get a random gain of up to 6 dB either way.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ml.classifier import fitting
from ml.classifier.recipe import NetworkSpec, Recipe
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.features.augmentation import Augmentation
from ml.features.feature_specs import spec_for
from ml.features.store import FeatureStore, StoredFeatures
from ml.training.clips import make_clips

RESULTS = Path(__file__).parents[1] / "results" / "recipes.json"
GAIN = Augmentation(copies=1, gain_db=(-6.0, 6.0), seed=1)
FOLDS = 5
SHORT_CNN = dataclasses.replace(Recipe.original(), epochs=60, patience=20, settled=20, batch=32, learning_rate=0.003)
CANDIDATES: dict[str, tuple[str, Recipe, int]] = {
    "MFCC at 22 050 Hz, original CNN, as it meant": ("original", dataclasses.replace(Recipe.original(), epochs=60), 0),
    "MFCC at 22 050 Hz, original CNN, batch 32": ("original", SHORT_CNN, 0),
    "MFCC at 22 050 Hz, spectrum network": ("original", Recipe.spectrum(), 0),
    "log-mel, native, original CNN, batch 32": (
        "spectrum",
        dataclasses.replace(SHORT_CNN, network=dataclasses.replace(NetworkSpec.original(), scale=True)),
        0,
    ),
    "log-mel, native, spectrum network (default)": ("spectrum", Recipe.spectrum(), 0),
    "the same, 3 augmented copies": ("spectrum", Recipe.spectrum(), 3),
    "the same, no hidden layer": (
        "spectrum",
        dataclasses.replace(Recipe.spectrum(), network=dataclasses.replace(NetworkSpec.spectrum(), hidden=())),
        0,
    ),
}


@dataclasses.dataclass(frozen=True)
class RecipeFold:
    """Recordings to learn from, of which the last of each class choose, and recordings to judge."""

    train: tuple[Entry, ...]
    validation: tuple[Entry, ...]
    test: tuple[Entry, ...]


def fold(train: Sequence[Entry], test: Sequence[Entry]) -> RecipeFold:
    """The last seventh of each class's training recordings decides when to stop."""
    chosen: list[Entry] = []
    for name in {class_name(entry) for entry in train}:
        members = [entry for entry in train if class_name(entry) == name]
        if len(members) > 2:
            chosen += members[-max(1, len(members) // 7) :]
    return RecipeFold(tuple(entry for entry in train if entry not in chosen), tuple(chosen), tuple(test))


def class_name(entry: Entry) -> str:
    """Faults by name where they have one."""
    return entry.annotation.fault or entry.label


def pc_fan(dataset: Dataset) -> Iterator[RecipeFold]:
    """Every healthy block with every abnormal block held out: no session is on two sides."""
    normal, abnormal = (sorted({e.session for e in dataset.entries if e.label == side}) for side in (NORMAL, ABNORMAL))
    for held_out in ({n, a} for n in normal for a in abnormal):
        yield fold(
            [e for e in dataset.entries if e.session not in held_out],
            [e for e in dataset.entries if e.session in held_out],
        )


def blocks(dataset: Dataset) -> Iterator[RecipeFold]:
    """Contiguous fifths of what each machine recorded, in recording order."""
    sides: dict[str, int] = {}
    units = {(e.annotation.machine_id, e.annotation.snr_db, e.label) for e in dataset.entries}
    for unit in sorted(units, key=str):
        members = [e for e in dataset.entries if (e.annotation.machine_id, e.annotation.snr_db, e.label) == unit]
        if len(members) > 2:
            for number, part in enumerate(np.array_split(np.arange(len(members)), min(FOLDS, len(members)))):
                sides |= {members[i].path: number for i in part}
    for number in range(FOLDS):
        yield fold(
            [e for e in dataset.entries if sides.get(e.path) != number],
            [e for e in dataset.entries if sides.get(e.path) == number],
        )


def flights(dataset: Dataset) -> Iterator[RecipeFold]:
    """Learned from one flown figure, judged on the other."""
    for figure in ("square", "f8"):
        yield fold(
            [e for e in dataset.entries if figure not in e.session], [e for e in dataset.entries if figure in e.session]
        )


def judge(
    work: RecipeFold, features: StoredFeatures, gained: StoredFeatures, recipe: Recipe, names: list[str]
) -> list[dict[str, object]]:
    """Fit on a fold, and measure on its test side, with a random gain."""
    of = {e.path: names.index(class_name(e)) for e in (*work.train, *work.validation)}
    with tempfile.TemporaryDirectory() as folder:
        fitted = fitting.fit_network(
            recipe,
            make_clips(work.train, of, features, augmented=True),
            make_clips(work.validation, of, features, augmented=False),
            len(names),
            Path(folder) / "fit.npz",
        )
    rows = []
    for entry in work.test:
        answers = fitted.model(gained.clips(entry, 1)[..., None], training=False).numpy().astype(np.float64)
        odds = np.log(answers[:, 1:].max(axis=1) + 1e-30) - np.log(answers[:, 0] + 1e-30)
        worst = int(odds.argmax())
        rows.append(
            {
                "snr": entry.annotation.snr_db,
                "truth": class_name(entry),
                "heard": names[int(answers[worst].argmax())],
                "odds": odds[worst],
            }
        )
    return rows


def auc(rows: Sequence[dict[str, object]]) -> float:
    """Of abnormal over normal, by rank."""
    score = np.array([row["odds"] for row in rows], np.float64)
    faulty = np.array([row["truth"] != NORMAL for row in rows])
    above = (score[faulty][:, None] > score[~faulty]).mean() + 0.5 * (score[faulty][:, None] == score[~faulty]).mean()
    return round(float(above), 3)


def macro_f1(rows: Sequence[dict[str, object]]) -> float:
    """Mean over the true classes."""
    figures = []
    for name in {str(row["truth"]) for row in rows}:
        hit = sum(row["truth"] == row["heard"] == name for row in rows)
        figures.append(
            2 * hit / (sum(row["truth"] == name for row in rows) + sum(row["heard"] == name for row in rows))
        )
    return round(float(np.mean(figures)), 3)


def main() -> None:
    """Run every candidate, and print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--only", default="", help="candidates whose name holds this")
    arguments = parser.parse_args()
    sets = {
        "pc_fan": (index(arguments.recordings / "pc_fan"), pc_fan),
        "mimii": (fans(arguments.recordings), blocks),
        "uav": (index(arguments.recordings / "uav_propeller"), flights),
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, (kind, recipe, copies) in CANDIDATES.items():
        if arguments.only in name:
            started = time.monotonic()
            results[name] = measure(sets, kind, recipe, copies) | {"seconds": round(time.monotonic() - started)}
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
            print(name, results[name], flush=True)
    show(results)


def fans(recordings: Path) -> Dataset:
    """MIMII's fans at 0 and -6 dB, as one."""
    parts = [index(recordings / "mimii" / level) for level in ("0_dB_fan", "-6_dB_fan")]
    root = recordings / "mimii"
    entries = [dataclasses.replace(e, path=str(part.file(e).relative_to(root))) for part in parts for e in part.entries]
    return dataclasses.replace(parts[0], root=root, entries=tuple(entries))


def measure(sets: dict[str, tuple[Dataset, object]], kind: str, recipe: Recipe, copies: int) -> dict[str, object]:
    """One candidate on every set."""
    found: dict[str, object] = {}
    augmentation = Augmentation.everything(copies) if copies else None
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        for name, (dataset, folds) in sets.items():
            spec = spec_for(dataset.entries, kind)
            features = store.extract(dataset, dataset.entries, spec, augmentation)
            gained = store.extract(dataset, dataset.entries, spec, GAIN)
            names = [NORMAL, *sorted({class_name(e) for e in dataset.entries} - {NORMAL})]
            rows = [judge(work, features, gained, recipe, names) for work in folds(dataset)]
            if name == "pc_fan":
                each = [auc(part) for part in rows]
                found["pc_fan AUC, mean of 8 folds"] = round(float(np.mean(each)), 3)
                found["pc_fan AUC, worst fold"] = min(each)
            elif name == "mimii":
                together = [row for part in rows for row in part]
                for snr in (0.0, -6.0):
                    found[f"MIMII fan {snr:g} dB AUC"] = auc([row for row in together if row["snr"] == snr])
                found["MIMII fan pooled AUC"] = auc(together)
            else:
                together = [row for part in rows for row in part]
                found["uav macro-F1"] = macro_f1(together)
                found["uav AUC"] = auc(together)
    return found


def show(results: dict[str, dict[str, object]]) -> None:
    """The table, for a person."""
    columns = list(next(iter(results.values())))
    table = Table("candidate", *columns, box=None)
    for name, row in results.items():
        table.add_row(name, *(str(row.get(column, "")) for column in columns))
    Console(width=220).print(table)


if __name__ == "__main__":
    main()
