"""A feature spec is valid, serialised completely, and identified by its fingerprint."""

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings

from ml.errors import SpecError
from ml.features.spec import FeatureSpec
from tests.unit.specs import ORIGINAL, specs


def test_the_original_spec_has_the_originals_values() -> None:
    """The spec has every value of the original project."""
    assert ORIGINAL.to_dict() == {
        "sample_rate_hz": 22_050,
        "resampler": "kaiser_fast",
        "channel": "mean",
        "clip_frames": 433,
        "n_fft": 2048,
        "hop_length": 512,
        "window": "hann",
        "padding": "constant",
        "n_mels": 128,
        "fmin_hz": 0.0,
        "fmax_hz": 11_025.0,
        "n_mfcc": 40,
        "dynamic_range_db": 80.0,
        "silent_frames": 2,
        "fit": "crop_or_repeat_tail",
    }
    assert ORIGINAL.input_shape == (1, 40, 433, 1)
    assert ORIGINAL.clip_s == pytest.approx(432 * 512 / 22_050)


OTHER_VALUES = {
    "sample_rate_hz": 44_100,
    "resampler": "kaiser_best",
    "channel": 0,
    "clip_frames": 434,
    "n_fft": 2047,
    "hop_length": 511,
    "window": "hamming",
    "padding": "reflect",
    "n_mels": 127,
    "fmin_hz": 0.5,
    "fmax_hz": 11_024.0,
    "n_mfcc": None,
    "dynamic_range_db": None,
    "silent_frames": 0,
    "level": "clip_mean",
    "offset": "removed",
    "reference_channel": 1,
}


def test_the_fingerprint_of_the_original_is_pinned() -> None:
    """Bundles and stored features have this fingerprint; a change would make them unusable."""
    assert ORIGINAL.fingerprint == "28b48ffbb1c23a59"


def test_the_fingerprint_changes_with_every_field() -> None:
    """Every field is in the fingerprint; ``fit`` has only one value."""
    assert set(OTHER_VALUES) | {"fit"} == {field.name for field in dataclasses.fields(ORIGINAL)}
    others = [dataclasses.replace(ORIGINAL, **{field: value}) for field, value in OTHER_VALUES.items()]
    assert len({spec.fingerprint for spec in (ORIGINAL, *others)}) == len(others) + 1


@settings(max_examples=50)
@given(specs())
def test_a_spec_survives_being_serialised(spec: FeatureSpec) -> None:
    """A spec that went through JSON is equal, with the same fingerprint."""
    found = FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert found == spec
    assert found.fingerprint == spec.fingerprint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate_hz", 999),
        ("sample_rate_hz", 192_001),
        ("resampler", "soxr_hq"),
        ("channel", "left"),
        ("channel", -1),
        ("channel", 64),
        ("reference_channel", -1),
        ("reference_channel", 64),
        ("clip_frames", 0),
        ("clip_frames", 65_537),
        ("n_fft", 31),
        ("n_fft", 65_537),
        ("hop_length", 0),
        ("hop_length", 2_049),
        ("window", "kaiser"),
        ("padding", "edge"),
        ("n_mels", 0),
        ("n_mels", 1_025),
        ("fmin_hz", -1.0),
        ("fmin_hz", 11_025.0),
        ("fmin_hz", math.nan),
        ("fmax_hz", 11_025.5),
        ("fmax_hz", 0.0),
        ("fmax_hz", math.nan),
        ("n_mfcc", 0),
        ("n_mfcc", 129),
        ("dynamic_range_db", 0.0),
        ("dynamic_range_db", -80.0),
        ("dynamic_range_db", math.nan),
        ("offset", "dc"),
        ("silent_frames", -1),
        ("silent_frames", 433),
        ("fit", "pad"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    """Just outside each limit, a SpecError names the field or the range."""
    named = "mel range" if field in ("fmin_hz", "fmax_hz") else field
    with pytest.raises(SpecError, match=named):
        dataclasses.replace(ORIGINAL, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate_hz", "22050"),
        ("sample_rate_hz", None),
        ("sample_rate_hz", 22_050.5),
        ("clip_frames", 433.0),
        ("hop_length", 512.0),
        ("hop_length", []),
        ("n_fft", 2_048.0),
        ("n_mels", 128.0),
        ("n_mfcc", 40.0),
        ("silent_frames", 2.0),
        ("silent_frames", None),
        ("channel", 1.0),
        ("reference_channel", "1"),
        ("resampler", ["kaiser_fast"]),
        ("window", {}),
        ("fmax_hz", "11025"),
        ("dynamic_range_db", "80"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(field: str, value: Any) -> None:
    """Types are checked when a spec is read from a file."""
    with pytest.raises(SpecError):
        FeatureSpec.from_dict({**ORIGINAL.to_dict(), field: value})


@pytest.mark.parametrize("field", list(ORIGINAL.to_dict()))
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    """A missing field gets no default."""
    values = ORIGINAL.to_dict()
    del values[field]
    with pytest.raises(SpecError, match=field):
        FeatureSpec.from_dict(values)


def test_an_unknown_field_is_refused_by_name() -> None:
    """A field of a later version would change the features."""
    with pytest.raises(SpecError, match="pre_emphasis"):
        FeatureSpec.from_dict({**ORIGINAL.to_dict(), "pre_emphasis": 0.97})
