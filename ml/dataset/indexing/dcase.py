"""File names of the DCASE challenge, task 2 (anomalous sound detection), which state label, machine and side.

::

    2020        fan/train/normal_id_00_00000000.wav, fan/test/anomaly_id_00_00000000.wav
    from 2021   fan/train/section_00_source_train_normal_0000_<attributes>.wav
    evaluation  fan/test/id_01_00000000.wav, fan/test/section_03_0000.wav: no label is published in the name
"""

import re
from dataclasses import dataclass

from ml.dataset.annotations import ABNORMAL, NORMAL, Label, Side

NAME_2020 = re.compile(r"(?:(?P<label>normal|anomaly|abnormal)_)?(?P<machine_id>id_\d+)_\d+", re.IGNORECASE)
NAME_2021 = re.compile(
    r"section_(?P<section>\d+)(?:_(?P<domain>source|target))?(?:_(?P<split>train|test))?(?:_supplemental)?"
    r"(?:_(?P<label>normal|anomaly|abnormal))?_(?:[a-z]+_)?\d+(?:_.*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class DcaseName:
    """Facts in a file name; None where the name does not state them."""

    label: Label | None
    machine_id: str
    section: str | None = None
    domain: str | None = None
    split: Side | None = None


def read_name(stem: str) -> DcaseName | None:
    """Return the facts in a file name without suffix; None for a name of another form.

    Example:
        >>> name = read_name("section_00_target_test_anomaly_0001_vel_6")
        >>> name.label, name.machine_id, name.section, name.domain, name.split
        ('abnormal', 'section_00', '00', 'target', 'test')
        >>> read_name("section_03_0000").label, read_name("normal_id_02_00000007").machine_id, read_name("fan_1")
        (None, 'id_02', None)
    """
    if found := NAME_2020.fullmatch(stem):
        return DcaseName(_label(found["label"]), found["machine_id"].lower())
    if found := NAME_2021.fullmatch(stem):
        section, split = found["section"], found["split"]
        sides: dict[str, Side] = {"train": "train", "test": "test"}
        return DcaseName(
            _label(found["label"]),
            f"section_{section}",
            section,
            found["domain"].lower() if found["domain"] else None,
            sides[split.lower()] if split else None,
        )
    return None


def _label(text: str | None) -> Label | None:
    return None if text is None else NORMAL if text.lower() == NORMAL else ABNORMAL
