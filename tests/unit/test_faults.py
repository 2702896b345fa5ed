"""Groups are found where there are some, the same for the same seed, and agreement says what chance would give."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.errors import InvalidParameter, MissingExtra, TooFewRecordings
from ml.faults.agreement import measure_agreement
from ml.faults.groups import group_faults
from ml.faults.vectors import recording_vector, subtract_normal_mean
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from tests import sounds

ROOT = Path(__file__).parents[2]
WIDTH = 12


def planted(sizes: tuple[int, ...], seed: int = 0, spread: float = 0.3) -> tuple[NDArray[np.float64], list[str]]:
    """Recordings around as many centres, in mixed order, and which centre each is from."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((len(sizes), WIDTH))
    for number, angle in enumerate(np.linspace(0, 2 * np.pi, len(sizes), endpoint=False)):
        centres[number, ::2], centres[number, 1::2] = 5 * np.cos(angle), 5 * np.sin(angle)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centres[truth] + rng.normal(0, spread, (len(truth), WIDTH)), [f"fault {t}" for t in truth]


def noise(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Recordings without any groups."""
    return np.random.default_rng(seed).normal(size=(n, WIDTH))


# Finding


def test_planted_groups_are_found_and_named_by_size() -> None:
    """Three well-parted kinds come back whole; the largest is group 1."""
    vectors, truth = planted((10, 40, 25))
    groups = group_faults(vectors, seed=3)
    assert measure_agreement(groups.assignments, truth).ari == 1.0
    assert np.bincount(groups.assignments).tolist() == [40, 25, 10]
    assert groups.names == ("group 1", "group 2", "group 3")
    assert groups.dimensions == 2
    assert groups.projected.shape == (75, 3)


def test_groups_of_one_size_are_ordered_by_their_first_recording() -> None:
    """Nothing but the recordings decides which of two equal groups comes first."""
    vectors, _ = planted((20, 20, 20))
    first_seen = list(dict.fromkeys(group_faults(vectors).assignments.tolist()))
    assert first_seen == [0, 1, 2]


@pytest.mark.parametrize("kinds", [2, 3, 5])
def test_auto_finds_how_many_there_are(kinds: int) -> None:
    """The number of planted kinds has the best silhouette, and half of the recordings give it again."""
    vectors, truth = planted((30,) * kinds)
    groups = group_faults(vectors, k="auto")
    assert groups.k == kinds
    assert "best silhouette" in groups.chosen_by
    assert measure_agreement(groups.assignments, truth).ari == 1.0


def test_the_curve_says_what_speaks_for_each_number() -> None:
    """2 to 9 are tried, inertia falls, and where there are three kinds three are stable and eight are not."""
    groups = group_faults(planted((30, 30, 30))[0])
    assert [trial.k for trial in groups.curve] == list(range(2, 10))
    inertia = [trial.inertia for trial in groups.curve]
    assert inertia == sorted(inertia, reverse=True)
    by_k = {trial.k: trial for trial in groups.curve}
    assert by_k[3].stability == pytest.approx(1.0)
    assert (by_k[8].stability or 0) < 0.8
    assert max(groups.curve, key=lambda trial: trial.silhouette or 0).k == 3


def test_auto_says_that_noise_has_no_groups() -> None:
    """Without groups no number is stable, and the sentence says so."""
    assert "No number of groups is stable" in group_faults(noise(60), k="auto").chosen_by


def test_stability_is_that_under_other_sessions() -> None:
    """Twelve sessions without any kinds: copies of a session's sound in both halves make its groups look stable."""
    rng = np.random.default_rng(2)
    session = np.repeat(np.arange(12), 10)
    vectors = noise(12, seed=2)[session] + rng.normal(0, 0.01, (120, WIDTH))
    by_recording = group_faults(vectors, k=8)
    by_session = group_faults(vectors, k=8, sessions=[f"s{number}" for number in session])
    np.testing.assert_array_equal(by_recording.assignments, by_session.assignments)
    stabilities = [next(trial.stability for trial in g.curve if trial.k == 5) for g in (by_recording, by_session)]
    assert (stabilities[0] or 0) > 0.8 > (stabilities[1] or 0)
    with pytest.raises(InvalidParameter, match="one for each"):
        group_faults(vectors, sessions=["s"])


def test_the_inertia_is_scikit_learns() -> None:
    """The elbow is that of the library's own fit, restated from distances."""
    groups = group_faults(planted((12, 12, 12), spread=1.0)[0])
    points = groups.projected[:, :2]
    restated = sum(
        np.square(points[groups.assignments == g] - points[groups.assignments == g].mean(axis=0)).sum()
        for g in range(3)
    )
    assert next(trial for trial in groups.curve if trial.k == 3).inertia == pytest.approx(restated)


def test_components_by_share_of_variance() -> None:
    """A share keeps as few components as explain it; the whole of the variance needs them all."""
    vectors = noise(50) * np.array([1.0] * WIDTH)
    groups = group_faults(vectors, components=0.5)
    ratios = np.array(groups.explained_variance_ratio)
    assert ratios[: groups.dimensions].sum() >= 0.5 > ratios[: groups.dimensions - 1].sum()
    assert groups.centroids.shape == (3, groups.dimensions)
    assert ratios.sum() == pytest.approx(1)


def test_exemplars_are_the_nearest_of_their_group() -> None:
    """Three for each group, of that group, nearest first."""
    groups = group_faults(planted((10, 12, 14))[0])
    for number, chosen in enumerate(groups.exemplars):
        own = groups.distances[:, number][groups.assignments == number]
        assert len(chosen) == 3
        assert {groups.assignments[i] for i in chosen} == {number}
        assert groups.distances[list(chosen), number].tolist() == sorted(own)[:3]


# The same again


def test_new_recordings_go_to_the_nearest_group() -> None:
    """What was grouped is assigned where it was, and a recording near to a group's centre to that group."""
    vectors, _ = planted((20, 30, 25))
    groups = group_faults(vectors)
    np.testing.assert_array_equal(groups.assign(vectors), groups.assignments)
    for number in range(3):
        centre = vectors[groups.assignments == number].mean(axis=0)
        assert groups.assign(centre[None]).tolist() == [number]


@settings(max_examples=5)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100), seed=st.integers(0, 2**32 - 1))
def test_units_do_not_matter(scale: float, shift: float, seed: int) -> None:
    """Each feature in other units: the same groups."""
    vectors, _ = planted((8, 9, 10))
    units = np.linspace(1, scale, WIDTH)
    there = group_faults(vectors * units + shift, seed=seed).assignments
    np.testing.assert_array_equal(there, group_faults(vectors, seed=seed).assignments)


def test_a_constant_feature_says_nothing() -> None:
    """A band that is the same in every recording changes no group and divides by no zero."""
    vectors, _ = planted((8, 9, 10))
    wider = np.hstack([vectors, np.full((len(vectors), 1), 7.3)])
    np.testing.assert_array_equal(group_faults(wider).assignments, group_faults(vectors).assignments)


def test_the_same_seed_gives_the_same_numbers_whatever_the_threads() -> None:
    """One thread or four, here or in another process: the same JSON, to the last digit."""
    code = (
        "import json, numpy as np; from ml.faults.groups import group_faults;"
        "v = np.random.default_rng(5).normal(size=(1500, 40));"
        "print(json.dumps(group_faults(v, k='auto', seed=4).to_dict()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(found) == 1


def test_groups_are_plain_values() -> None:
    """to_dict goes through JSON and keeps every field."""
    values = json.loads(json.dumps(group_faults(planted((8, 9, 10))[0]).to_dict(), allow_nan=False))
    assert values["k"] == 3
    assert len(values["assignments"]) == 27
    assert values["curve"][0]["k"] == 2


# Refusals


@pytest.mark.parametrize("k", [0, 1, 10, True, 2.5, "three"])
def test_unusable_numbers_of_groups_are_refused(k: int) -> None:
    """2 to 9 or auto; the sentence says so."""
    with pytest.raises(InvalidParameter, match="2 to 9, or 'auto'"):
        group_faults(noise(30), k=k)


@pytest.mark.parametrize("components", [0, -1, 0.0, 1.5, float("nan"), True])
def test_unusable_numbers_of_components_are_refused(components: float) -> None:
    """A whole number from 1 or a share below 1."""
    with pytest.raises(InvalidParameter, match="a share below 1"):
        group_faults(noise(30), components=components)


@pytest.mark.parametrize(("n", "k"), [(0, 3), (2, 3), (1, "auto"), (8, 9)])
def test_too_few_recordings_are_refused(n: int, k: int) -> None:
    """The sentence has both numbers."""
    with pytest.raises(TooFewRecordings, match=rf"{n} recordings cannot be put into {2 if k == 'auto' else k} groups"):
        group_faults(noise(9)[:n], k=k)


def test_recordings_that_are_all_the_same_are_refused() -> None:
    """Copies of one recording are no groups, however many; nor are those that differ by rounding."""
    with pytest.raises(TooFewRecordings, match="of which 1 differ"):
        group_faults(np.ones((20, 4)))
    with pytest.raises(TooFewRecordings, match="sound the same"):
        group_faults(1 + 1e-14 * noise(20))


def test_what_is_not_finite_is_refused_by_number() -> None:
    """NaN and infinity are named by the recording that has them."""
    vectors = noise(10)
    vectors[7, 2] = np.inf
    with pytest.raises(InvalidParameter, match="recording 7"):
        group_faults(vectors)


def test_vectors_of_another_width_are_refused() -> None:
    """Groups found on other features cannot be asked."""
    with pytest.raises(InvalidParameter, match=f"on {WIDTH}"):
        group_faults(noise(10)).assign(np.zeros((2, WIDTH + 1)))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_very_few_recordings_are_grouped_without_a_crash(n: int) -> None:
    """As few as there may be: what cannot be computed is None and not a number."""
    groups = group_faults(noise(n), k="auto")
    assert len(groups.assignments) == n
    assert groups.curve[-1].stability is None


def test_a_missing_library_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-learn the sentence says which extra to install."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtra, match=r"signalml\[train\]"):
        group_faults(noise(10))


def test_importing_the_room_does_not_import_the_library() -> None:
    """Whoever serves may import it for its nouns."""
    code = "import sys, ml.faults; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Agreement


def test_random_faults_agree_as_chance_does() -> None:
    """Faults drawn without regard to the groups: both figures stay near to their chance level."""
    rng = np.random.default_rng(0)
    found = [
        measure_agreement(rng.integers(0, 3, 60), [f"f{t}" for t in rng.integers(0, 4, 60)], seed=trial)
        for trial in range(10)
    ]
    assert abs(np.mean([a.ari for a in found])) < 0.03
    assert np.mean([a.nmi - a.nmi_chance for a in found]) == pytest.approx(0, abs=0.03)
    assert sum(a.ari > a.ari_chance_95 for a in found) <= 3
    assert all(a.nmi_chance > 0 for a in found)


def test_groups_that_are_the_faults_stand_far_above_chance() -> None:
    """Whole agreement beside what shuffled faults give, which the groups' own figures do not raise."""
    found = measure_agreement([0, 1, 2] * 20, ["a", "b", "c"] * 20)
    assert found.ari == found.nmi == pytest.approx(1.0)
    assert abs(found.ari_chance) < 0.02 < found.ari_chance_95 < 0.15
    assert 0 < found.nmi_chance < found.nmi_chance_95 < 0.2


def test_names_of_groups_do_not_matter() -> None:
    """The same parting under other names agrees wholly."""
    found = measure_agreement([2, 2, 0, 0, 1, 1], ["a", "a", "b", "b", "c", "c"])
    assert (found.ari, found.nmi, found.n) == (1.0, 1.0, 6)


def test_unknown_faults_are_left_out_and_the_rest_counted() -> None:
    """n is what was compared."""
    assert measure_agreement([0, 0, 1, 1, 1], ["a", None, "b", "b", None]).n == 3


def test_agreement_needs_faults() -> None:
    """None known, or not as many as groups: refused."""
    with pytest.raises(InvalidParameter, match="known fault"):
        measure_agreement([0, 1], [None, None])
    with pytest.raises(InvalidParameter, match="2 recordings"):
        measure_agreement([0, 1], ["a"])


# What is grouped


SPEC = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8_000.0, clip_frames=40, n_fft=512, hop_length=256, n_mels=64)
CEPSTRAL = dataclasses.replace(SPEC, n_mfcc=40)


def features(spec: FeatureSpec, seed: int = 0, gain: float = 1.0) -> NDArray[np.float32]:
    """Three windows of a fan's sound."""
    extractor = FeatureExtractor(spec)
    sound = (gain * sounds.fan(2.0, seed=seed)[:, 0]).astype(np.float32)
    return np.stack([extractor(sound[start : start + spec.clip_samples]) for start in (0, 4_000, 8_000)])


def test_bands_and_cepstra_of_a_sound_give_one_vector() -> None:
    """What is grouped does not hang on whether the model hears mel bands or MFCCs."""
    bands, cepstra = recording_vector(features(SPEC), SPEC), recording_vector(features(CEPSTRAL), CEPSTRAL)
    assert bands.shape == cepstra.shape == (78,)
    np.testing.assert_allclose(bands, cepstra, atol=1e-3)


def test_a_vector_is_mean_and_variation_over_all_windows() -> None:
    """Restated from the MFCCs, without the first; the order of the windows says nothing."""
    windows = features(CEPSTRAL)
    together = np.moveaxis(windows, 1, 0)[1:].reshape(39, -1).astype(np.float64)
    vector = recording_vector(windows, CEPSTRAL)
    np.testing.assert_allclose(vector, np.r_[together.mean(axis=1), together.std(axis=1)])
    np.testing.assert_allclose(vector, recording_vector(windows[::-1], CEPSTRAL))


def test_a_vector_knows_no_loudness() -> None:
    """The same sound 12 dB softer has the same vector, though the spec keeps the level."""
    np.testing.assert_allclose(
        recording_vector(features(CEPSTRAL, gain=0.25), CEPSTRAL),
        recording_vector(features(CEPSTRAL), CEPSTRAL),
        atol=2e-3,
    )


def test_features_of_another_spec_are_refused() -> None:
    """Rows that are not the spec's are no features of it."""
    with pytest.raises(InvalidParameter, match="windows of 64 rows"):
        recording_vector(features(CEPSTRAL), SPEC)


def test_faults_of_several_machines_are_found_against_their_healthy_sound() -> None:
    """As they are, recordings fall into machines; less each machine's healthy mean, into faults."""
    faults, truth = planted((15, 15, 15))
    rng = np.random.default_rng(1)
    machines = [f"id_{number}" for number in rng.integers(0, 3, len(faults))]
    own = {machine: rng.normal(0, 60, WIDTH) for machine in set(machines)}
    heard = faults + np.array([own[machine] for machine in machines])
    well_machines = sorted(own) * 20
    well = np.array([own[machine] for machine in well_machines]) + rng.normal(0, 0.3, (len(well_machines), WIDTH))
    relative = subtract_normal_mean(heard, machines, well, well_machines)
    assert measure_agreement(group_faults(heard).assignments, truth).ari < 0.1
    assert measure_agreement(group_faults(heard).assignments, machines).ari > 0.9
    assert measure_agreement(group_faults(relative).assignments, truth).ari == 1.0


def test_machines_without_healthy_recordings_are_held_against_all() -> None:
    """No healthy recording of this machine: the mean of all; none at all: as it was."""
    relative = subtract_normal_mean(np.array([[5.0], [6.0]]), ["a", "new"], np.array([[1.0], [3.0]]), ["a", "b"])
    assert relative.tolist() == [[4.0], [4.0]]
    assert subtract_normal_mean(np.array([[5.0]]), ["a"], np.empty((0, 1)), []).tolist() == [[5.0]]
    with pytest.raises(InvalidParameter, match="one for each"):
        subtract_normal_mean(np.array([[5.0]]), [], np.empty((0, 1)), [])
