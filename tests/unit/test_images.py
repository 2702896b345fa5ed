"""The two images and their locks: what is meant to be alike in them is alike."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# What tells the images apart: which libraries they hold, and what they are called.
OWN = ("ARG LOCK=", "LABEL ")
STRIPPING = "strip --strip-unneeded"


def instructions(dockerfile: str) -> list[str]:
    """Each instruction of a Dockerfile on one line, without comments."""
    lines = (ROOT / dockerfile).read_text().splitlines()
    told = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return [" ".join(each.split()) for each in re.sub(r"\\\n", "", told).splitlines()]


def shared(dockerfile: str) -> list[str]:
    """The instructions up to the last that is meant to be the same in both, without those that are not."""
    steps = instructions(dockerfile)
    steps = steps[: steps.index("STOPSIGNAL SIGTERM") + 1]
    return [step for step in steps if not step.startswith(OWN)]


def pinned(lock: str, package: str) -> set[str]:
    """The releases of a package that a lock names."""
    found = re.findall(rf"^{re.escape(package)}==([^ ;]+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE)
    return set(found)


def test_both_images_are_made_by_the_same_steps():
    """A care that one image takes and the other does not would be a mistake, but for TensorFlow's libraries."""
    worker = shared("Dockerfile.worker")
    assert sum(STRIPPING in step for step in worker) == 1
    assert [step for step in worker if STRIPPING not in step] == shared("Dockerfile.api")


def test_workers_train_with_the_release_of_tensorflow_that_the_tests_use():
    """The image's TensorFlow has another name, so that no constraint holds the two together."""
    tested = pinned("dev.lock", "tensorflow")
    assert len(tested) == 1
    assert pinned("train.lock", "tensorflow-cpu") == tested


def test_every_pinned_library_of_the_images_is_one_that_the_tests_use():
    """What is in an image was tested: the same releases, but for TensorFlow's name."""
    named = re.compile(r"^([a-z0-9.-]+==[^ ;]+)", re.MULTILINE)
    tested = set(named.findall((ROOT / "requirements/dev.lock").read_text()))
    for lock in ("serve.lock", "train.lock", "build.lock"):
        untested = set(named.findall((ROOT / "requirements" / lock).read_text())) - tested
        assert not {each for each in untested if not each.startswith("tensorflow-cpu==")}, lock
