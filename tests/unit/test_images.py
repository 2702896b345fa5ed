"""The images and their locks: their common steps and releases are equal."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Instructions that differ between the images: their libraries and their names.
OWN = ("ARG LOCK=", "LABEL ")
STRIPPING = "strip --strip-unneeded"
RECORDERS = "alsa-utils ffmpeg pulseaudio-utils"


def instructions(dockerfile: str) -> list[str]:
    """Each instruction of a Dockerfile on one line, without comments."""
    lines = (ROOT / dockerfile).read_text().splitlines()
    code = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return [" ".join(each.split()) for each in re.sub(r"\\\n", "", code).splitlines()]


def common_steps(dockerfile: str) -> list[str]:
    """The instructions up to the last common one, without those of one image."""
    steps = instructions(dockerfile)
    steps = steps[: steps.index("STOPSIGNAL SIGTERM") + 1]
    return [step for step in steps if not step.startswith(OWN)]


def pinned(lock: str, package: str) -> set[str]:
    """The releases of a package in a lock."""
    found = re.findall(rf"^{re.escape(package)}==([^ ;]+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    return set(found)


@pytest.mark.parametrize(("image", "own_step"), [("worker", STRIPPING), ("listener", RECORDERS)])
def test_the_images_are_made_by_the_same_steps(image: str, own_step: str) -> None:
    """The steps are equal, except that the worker's image strips TensorFlow's libraries, and the listener's records."""
    steps = common_steps(f"Dockerfile.{image}")
    assert sum(own_step in step for step in steps) == 1
    assert [step for step in steps if own_step not in step] == common_steps("Dockerfile.api")


def test_the_listeners_image_has_what_it_needs_and_no_tensorflow() -> None:
    """Debian's ffmpeg replaces the one in a wheel, which cannot read ALSA."""
    assert pinned("listener.lock", "paho-mqtt")
    assert pinned("listener.lock", "watchfiles")
    lock = (ROOT / "requirements" / "listener.lock").read_text()
    assert "tensorflow" not in lock
    assert "imageio-ffmpeg==" not in re.sub(r"^imageio-ffmpeg==\S+ ; sys_platform == 'never'.*$", "", lock, flags=re.M)


def test_workers_train_with_the_release_of_tensorflow_that_the_tests_use():
    """TensorFlow has another name in the image, so no constraint keeps the releases equal."""
    tested = pinned("dev.lock", "tensorflow")
    assert len(tested) == 1
    assert pinned("train.lock", "tensorflow-cpu") == tested


def test_every_pinned_library_of_the_images_is_one_that_the_tests_use():
    """An image has the tested releases, except for TensorFlow's name."""
    named = re.compile(r"^([a-z0-9.-]+==[^ ;]+)", re.MULTILINE)
    tested = set(named.findall((ROOT / "requirements/dev.lock").read_text()))
    for lock in ("serve.lock", "train.lock", "listener.lock", "build.lock"):
        untested = set(named.findall((ROOT / "requirements" / lock).read_text())) - tested
        assert not {each for each in untested if not each.startswith("tensorflow-cpu==")}, lock
