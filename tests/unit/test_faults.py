"""Fault groups: found where they exist, equal for one seed, and compared with the faults by agreement."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.errors import InvalidParameter, MissingExtra, TooFewRecordings
from ml.faults import k_selection as trials
from ml.faults.agreement import measure_agreement
from ml.faults.groups import group_faults
from ml.faults.vectors import recording_vector, subtract_normal_mean
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from tests import sounds

ROOT = Path(__file__).parents[2]
WIDTH = 12


def planted(sizes: tuple[int, ...], seed: int = 0, spread: float = 0.3) -> tuple[NDArray[np.float64], list[str]]:
    """Vectors around one centre for each size, in random order, and the name of each vector's centre."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((len(sizes), WIDTH))
    for number, angle in enumerate(np.linspace(0, 2 * np.pi, len(sizes), endpoint=False)):
        centres[number, ::2], centres[number, 1::2] = 5 * np.cos(angle), 5 * np.sin(angle)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centres[truth] + rng.normal(0, spread, (len(truth), WIDTH)), [f"fault {t}" for t in truth]


def noise(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Vectors without groups."""
    return np.random.default_rng(seed).normal(size=(n, WIDTH))


@pytest.fixture
def two_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure stability from two halves only, which saves nine tenths of the time."""
    monkeypatch.setattr(trials, "HALVES", 2)


quick = pytest.mark.usefixtures("two_halves")

# Finding


@quick
def test_planted_groups_are_found_and_named_by_size() -> None:
    """Three separate groups are found; the largest is group 1."""
    vectors, truth = planted((10, 40, 25))
    groups = group_faults(vectors, seed=3)
    assert measure_agreement(groups.assignments, truth).ari == 1.0
    assert np.bincount(groups.assignments).tolist() == [40, 25, 10]
    assert groups.names == ("group 1", "group 2", "group 3")
    assert groups.dimensions == 2
    assert groups.projected.shape == (75, 3)


@quick
def test_groups_of_one_size_are_ordered_by_their_first_recording() -> None:
    """Of equal groups, the one with the first recording comes first."""
    vectors, _ = planted((20, 20, 20))
    first_seen = list(dict.fromkeys(group_faults(vectors).assignments.tolist()))
    assert first_seen == [0, 1, 2]


@pytest.mark.parametrize("kinds", [2, 3, 5])
def test_auto_finds_the_number_of_groups(kinds: int) -> None:
    """The number of planted groups has the best silhouette, and halves of the recordings agree."""
    vectors, truth = planted((30,) * kinds)
    groups = group_faults(vectors, k="auto")
    assert groups.k == kinds
    assert "best silhouette" in groups.chosen_by
    assert measure_agreement(groups.assignments, truth).ari == 1.0


def test_the_curve_has_the_figures_of_each_number_of_groups() -> None:
    """2 to 9 are tried, inertia falls, and with three planted groups three is stable and eight is not."""
    groups = group_faults(planted((30, 30, 30))[0])
    assert [trial.k for trial in groups.curve] == list(range(2, 10))
    inertia = [trial.inertia for trial in groups.curve]
    assert inertia == sorted(inertia, reverse=True)
    by_k = {trial.k: trial for trial in groups.curve}
    assert by_k[3].stability == pytest.approx(1.0)
    assert (by_k[8].stability or 0) < 0.8
    assert max(groups.curve, key=lambda trial: trial.silhouette or 0).k == 3


def test_auto_finds_no_stable_number_in_noise() -> None:
    """The message states that no number of groups is stable."""
    assert "No number of groups is stable" in group_faults(noise(60), k="auto").chosen_by


def test_stability_is_measured_between_sessions() -> None:
    """In twelve sessions without groups, halves that share sessions look stable and halves that do not are unstable."""
    rng = np.random.default_rng(2)
    session = np.repeat(np.arange(12), 10)
    vectors = noise(12, seed=2)[session] + rng.normal(0, 0.01, (120, WIDTH))
    by_recording = group_faults(vectors, k=8)
    by_session = group_faults(vectors, k=8, sessions=[f"s{number}" for number in session])
    np.testing.assert_array_equal(by_recording.assignments, by_session.assignments)
    stabilities = [next(trial.stability for trial in g.curve if trial.k == 5) for g in (by_recording, by_session)]
    assert (stabilities[0] or 0) > 0.8 > (stabilities[1] or 0)
    with pytest.raises(InvalidParameter, match="one session for each recording was expected"):
        group_faults(vectors, sessions=["s"])


@quick
def test_the_inertia_is_scikit_learns() -> None:
    """The inertia equals the sum of squared distances in the library's own fit."""
    groups = group_faults(planted((12, 12, 12), spread=1.0)[0])
    points = groups.projected[:, :2]
    restated = sum(
        np.square(points[groups.assignments == g] - points[groups.assignments == g].mean(axis=0)).sum()
        for g in range(3)
    )
    assert next(trial for trial in groups.curve if trial.k == 3).inertia == pytest.approx(restated)


@quick
def test_components_by_share_of_variance() -> None:
    """A share keeps the fewest components that explain it; the whole variance needs all."""
    vectors = noise(50) * np.array([1.0] * WIDTH)
    groups = group_faults(vectors, components=0.5)
    ratios = np.array(groups.explained_variance_ratio)
    assert ratios[: groups.dimensions].sum() >= 0.5 > ratios[: groups.dimensions - 1].sum()
    assert groups.centroids.shape == (3, groups.dimensions)
    assert ratios.sum() == pytest.approx(1)


@quick
def test_exemplars_are_the_nearest_of_their_group() -> None:
    """Each group has three exemplars of its own, the nearest first."""
    groups = group_faults(planted((10, 12, 14))[0])
    for number, chosen in enumerate(groups.exemplars):
        own = groups.distances[:, number][groups.assignments == number]
        assert len(chosen) == 3
        assert {groups.assignments[i] for i in chosen} == {number}
        assert groups.distances[list(chosen), number].tolist() == sorted(own)[:3]


# The same again


@quick
def test_new_recordings_go_to_the_nearest_group() -> None:
    """Grouped vectors are assigned to their group, and a group's centre to that group."""
    vectors, _ = planted((20, 30, 25))
    groups = group_faults(vectors)
    np.testing.assert_array_equal(groups.assign(vectors), groups.assignments)
    for number in range(3):
        centre = vectors[groups.assignments == number].mean(axis=0)
        assert groups.assign(centre[None]).tolist() == [number]


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@quick
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100), seed=st.integers(0, 2**32 - 1))
def test_units_do_not_matter(scale: float, shift: float, seed: int) -> None:
    """Features in other units give the same groups."""
    vectors, _ = planted((8, 9, 10))
    units = np.linspace(1, scale, WIDTH)
    there = group_faults(vectors * units + shift, seed=seed).assignments
    np.testing.assert_array_equal(there, group_faults(vectors, seed=seed).assignments)


@quick
def test_a_constant_feature_changes_nothing() -> None:
    """A feature that is equal in all recordings changes no group, and nothing is divided by zero."""
    vectors, _ = planted((8, 9, 10))
    wider = np.hstack([vectors, np.full((len(vectors), 1), 7.3)])
    np.testing.assert_array_equal(group_faults(wider).assignments, group_faults(vectors).assignments)


def test_the_same_seed_gives_the_same_numbers_with_any_number_of_threads() -> None:
    """One thread and four give the same JSON to the last digit."""
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


@quick
def test_groups_are_plain_values() -> None:
    """The dictionary goes through JSON with every field."""
    values = json.loads(json.dumps(group_faults(planted((8, 9, 10))[0]).to_dict(), allow_nan=False))
    assert values["k"] == 3
    assert len(values["assignments"]) == 27
    assert values["curve"][0]["k"] == 2


# Refusals


@pytest.mark.parametrize("k", [0, 1, 10, True, 2.5, "three"])
def test_invalid_numbers_of_groups_are_refused(k: int) -> None:
    """The message has the valid values: 2 to 9 or auto."""
    with pytest.raises(InvalidParameter, match="2 to 9, or 'auto'"):
        group_faults(noise(30), k=k)


@pytest.mark.parametrize("components", [0, -1, 0.0, 1.5, float("nan"), True])
def test_invalid_numbers_of_components_are_refused(components: float) -> None:
    """A whole number from 1 or a share below 1 is expected."""
    with pytest.raises(InvalidParameter, match="a share above 0 and below 1"):
        group_faults(noise(30), components=components)


@pytest.mark.parametrize(("n", "k"), [(0, 3), (2, 3), (1, "auto"), (8, 9)])
def test_too_few_recordings_are_refused(n: int, k: int) -> None:
    """The message has both numbers."""
    with pytest.raises(TooFewRecordings, match=rf"{n} recordings are too few for {2 if k == 'auto' else k} groups"):
        group_faults(noise(9)[:n], k=k)


def test_equal_recordings_are_refused() -> None:
    """Copies of one recording, or recordings that differ by rounding only, have no groups."""
    with pytest.raises(TooFewRecordings, match="Only 1 of 20 recordings are different"):
        group_faults(np.ones((20, 4)))
    with pytest.raises(TooFewRecordings, match="recordings are equal"):
        group_faults(1 + 1e-14 * noise(20))


def test_vectors_that_are_not_finite_are_refused_by_number() -> None:
    """The message has the number of the recording with NaN or infinity."""
    vectors = noise(10)
    vectors[7, 2] = np.inf
    with pytest.raises(InvalidParameter, match="recording 7"):
        group_faults(vectors)


@quick
def test_vectors_of_another_width_are_refused() -> None:
    """Groups cannot assign vectors of other features."""
    with pytest.raises(InvalidParameter, match=f"{WIDTH + 1} numbers; {WIDTH} were expected"):
        group_faults(noise(10)).assign(np.zeros((2, WIDTH + 1)))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_very_few_recordings_are_grouped(n: int) -> None:
    """Figures that cannot be computed are None."""
    groups = group_faults(noise(n), k="auto")
    assert len(groups.assignments) == n
    assert groups.curve[-1].stability is None


def test_a_missing_library_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-learn the message names the extra to install."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtra, match=r"signalml\[train\]"):
        group_faults(noise(10))


def test_importing_the_package_does_not_import_the_library() -> None:
    """A serving process can import ml.faults without scikit-learn."""
    code = "import sys, ml.faults; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Agreement


def test_random_faults_agree_at_chance_level() -> None:
    """For faults drawn independently of the groups, both figures are near their chance level."""
    rng = np.random.default_rng(0)
    found = [
        measure_agreement(rng.integers(0, 3, 60), [f"f{t}" for t in rng.integers(0, 4, 60)], seed=trial)
        for trial in range(10)
    ]
    assert abs(np.mean([a.ari for a in found])) < 0.03
    assert np.mean([a.nmi - a.nmi_chance for a in found]) == pytest.approx(0, abs=0.03)
    assert sum(a.ari > a.ari_chance_95 for a in found) <= 3
    assert all(a.nmi_chance > 0 for a in found)


def test_groups_equal_to_the_faults_agree_far_above_chance() -> None:
    """Agreement is 1, and the chance level, from shuffled faults, stays low."""
    found = measure_agreement([0, 1, 2] * 20, ["a", "b", "c"] * 20)
    assert found.ari == found.nmi == pytest.approx(1.0)
    assert abs(found.ari_chance) < 0.02 < found.ari_chance_95 < 0.15
    assert 0 < found.nmi_chance < found.nmi_chance_95 < 0.2


def test_names_of_groups_do_not_matter() -> None:
    """The same groups under other names agree fully."""
    found = measure_agreement([2, 2, 0, 0, 1, 1], ["a", "a", "b", "b", "c", "c"])
    assert (found.ari, found.nmi, found.n) == (1.0, 1.0, 6)


def test_unknown_faults_are_left_out_and_the_rest_counted() -> None:
    """n is the number of compared recordings."""
    assert measure_agreement([0, 0, 1, 1, 1], ["a", None, "b", "b", None]).n == 3


def test_agreement_needs_faults() -> None:
    """No known fault, or another number of faults than recordings, is refused."""
    with pytest.raises(InvalidParameter, match="known fault"):
        measure_agreement([0, 1], [None, None])
    with pytest.raises(InvalidParameter, match="2 recordings"):
        measure_agreement([0, 1], ["a"])


# Vectors


SPEC = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8_000.0, clip_frames=40, n_fft=512, hop_length=256, n_mels=64)
CEPSTRAL = dataclasses.replace(SPEC, n_mfcc=40)


def features(spec: FeatureSpec, seed: int = 0, gain: float = 1.0) -> NDArray[np.float32]:
    """Features of three clips of a fan."""
    extractor = FeatureExtractor(spec)
    sound = (gain * sounds.fan(2.0, seed=seed)[:, 0]).astype(np.float32)
    return np.stack([extractor(sound[start : start + spec.clip_samples]) for start in (0, 4_000, 8_000)])


def test_mel_bands_and_mfccs_give_the_same_vector() -> None:
    """The vector does not depend on the kind of the model's features."""
    bands, cepstra = recording_vector(features(SPEC), SPEC), recording_vector(features(CEPSTRAL), CEPSTRAL)
    assert bands.shape == cepstra.shape == (78,)
    np.testing.assert_allclose(bands, cepstra, atol=1e-3)


def test_a_vector_is_mean_and_standard_deviation_over_all_clips() -> None:
    """The vector is computed from the MFCCs without the first; the order of the clips does not matter."""
    clips = features(CEPSTRAL)
    together = np.moveaxis(clips, 1, 0)[1:].reshape(39, -1).astype(np.float64)
    vector = recording_vector(clips, CEPSTRAL)
    np.testing.assert_allclose(vector, np.r_[together.mean(axis=1), together.std(axis=1)])
    np.testing.assert_allclose(vector, recording_vector(clips[::-1], CEPSTRAL))


def test_a_vector_does_not_depend_on_loudness() -> None:
    """The same recording 12 dB softer has the same vector, though the spec keeps the level."""
    np.testing.assert_allclose(
        recording_vector(features(CEPSTRAL, gain=0.25), CEPSTRAL),
        recording_vector(features(CEPSTRAL), CEPSTRAL),
        atol=2e-3,
    )


def test_features_of_another_spec_are_refused() -> None:
    """The number of rows must be the spec's."""
    with pytest.raises(InvalidParameter, match="with 64 rows"):
        recording_vector(features(CEPSTRAL), SPEC)


@quick
def test_faults_of_several_machines_are_found_relative_to_their_normal_recordings() -> None:
    """Raw vectors fall into machines; without each machine's normal mean, they fall into faults."""
    faults, truth = planted((15, 15, 15))
    rng = np.random.default_rng(1)
    machines = [f"id_{number}" for number in rng.integers(0, 3, len(faults))]
    own = {machine: rng.normal(0, 60, WIDTH) for machine in set(machines)}
    vectors = faults + np.array([own[machine] for machine in machines])
    normal_machines = sorted(own) * 20
    normal = np.array([own[machine] for machine in normal_machines])
    normal += rng.normal(0, 0.3, (len(normal_machines), WIDTH))
    relative = subtract_normal_mean(vectors, machines, normal, normal_machines)
    assert measure_agreement(group_faults(vectors).assignments, truth).ari < 0.1
    assert measure_agreement(group_faults(vectors).assignments, machines).ari > 0.9
    assert measure_agreement(group_faults(relative).assignments, truth).ari == 1.0


def test_machines_without_normal_recordings_use_the_mean_of_all() -> None:
    """Without normal recordings of a machine, the mean of all is subtracted; without any, nothing is."""
    relative = subtract_normal_mean(np.array([[5.0], [6.0]]), ["a", "new"], np.array([[1.0], [3.0]]), ["a", "b"])
    assert relative.tolist() == [[4.0], [4.0]]
    assert subtract_normal_mean(np.array([[5.0]]), ["a"], np.empty((0, 1)), []).tolist() == [[5.0]]
    with pytest.raises(InvalidParameter, match="one machine for each vector was expected"):
        subtract_normal_mean(np.array([[5.0]]), [], np.empty((0, 1)), [])
