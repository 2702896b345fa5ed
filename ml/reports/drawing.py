"""Figures as SVG inside a page: with unique ids, without dates, in the page's text colour.

matplotlib comes with the extra "train" and is imported when the first figure is drawn. Only its object interface is
used, because pyplot keeps figures for the whole process.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from ml.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# This colour is replaced by the page's text colour, which differs between the light and the dark scheme.
INK = "#010203"
# M. Okabe and K. Ito, "Color Universal Design", 2008, without black and yellow, which are hard to see on one of the two
# backgrounds. Three more colours for up to nine groups, which also have different marks.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#a6611a", "#7b5ea7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
NORMAL_COLOUR, ABNORMAL_COLOUR = COLOURS[0], COLOURS[1]
# Width of a page column. A phone then shows text at the size in which it was drawn.
WIDTH_IN, HEIGHT_IN = 5.2, 3.5
# More marks than this are drawn as pixels, because a page with 20 000 circles scrolls too slowly.
MAX_VECTOR_MARKS = 2000
STYLE: Any = {  # Any, because matplotlib 3.11 has types for each key and 3.10 has none
    "svg.fonttype": "none",  # text stays text: a smaller file, and the page's own font
    "svg.hashsalt": "signalml",
    "text.parse_math": False,  # a dollar sign in a name does not begin a formula
    "axes.formatter.use_mathtext": False,
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 10.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "grid.color": INK,
}
# matplotlib's settings are global, so one figure is drawn at a time.
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in a page: name, title, a caption that explains how to read it, and the SVG element."""

    name: str
    title: str
    caption: str
    svg: str


def draw_picture(
    name: str, title: str, caption: str, draw: Callable[["Figure"], None], height_in: float = HEIGHT_IN
) -> Picture:
    """Draw a figure.

    Args:
        name: letters and dashes; unique in the page.
        title: content in a few words; screen readers read title and caption.
        caption: how to read the figure, and the number of recordings.
        draw: draws into an empty figure.
        height_in: height in inches; the width is 5.2 inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("Drawing a report", "train") from error
    content = io.BytesIO()
    with _DRAWING, rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the browser's font may have the glyph
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        figure.savefig(content, format="svg", dpi=150, metadata={"Date": None})
    caption = caption.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return Picture(name, title, caption, _inline(content.getvalue(), name, f"{title}. {caption}"))


def printable_name(name: str, longest: int = 28) -> str:
    """Shorten a name for a figure, and replace characters that cannot be printed."""
    readable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return readable if len(readable) <= longest else readable[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def as_pixels(marks: int) -> bool:
    """Whether this number of marks is drawn as pixels."""
    return marks > MAX_VECTOR_MARKS


def jitter(n: int, width: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return ``n`` horizontal offsets for the marks of a column, -width to width, always the same."""
    return np.random.Generator(np.random.PCG64(n)).uniform(-width, width, n)


def _inline(svg: bytes, name: str, label: str) -> str:
    """Return the SVG as an element of an HTML page: with unique ids and without namespaces."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # drawn by this module, not received
    for unwanted in (
        *root.findall("{*}metadata"),
        *root.findall("{*}defs[{*}style]"),
    ):  # the page has its own style sheet
        root.remove(unwanted)
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    for element in root.iter():
        _adapt(element, name, used)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str, used: set[str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    if element.get("id") in used:
        element.set("id", f"{name}-{element.get('id')}")
    else:
        element.attrib.pop("id", None)
    for key, value in element.attrib.items():
        if key == "href" and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif key == "href":
            element.set(key, "".join(value.split()))  # an image, as base64 with line breaks
        elif key in ("clip-path", "style", "fill"):
            own_ids = value.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
            element.set(key, re.sub(r"'DejaVu Sans'[^;]*", "system-ui, sans-serif", own_ids))
