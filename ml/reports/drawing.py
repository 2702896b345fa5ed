"""Figures as SVG that stands inside a page: no fixed ids, no dates, and the page's own text colour.

matplotlib comes with the extra "train" and is imported when the first figure is drawn. Only its object interface is
used: pyplot keeps figures for the whole process.
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

# Drawn in this colour means drawn in the page's text colour, which is another one in the dark.
INK = "#010203"
# M. Okabe and K. Ito, "Color Universal Design", 2008, without black and yellow, which vanish on one of the two grounds;
# three more for up to nine groups, which differ by their marks too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#a6611a", "#7b5ea7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
NORMAL_COLOUR, ABNORMAL_COLOUR = COLOURS[0], COLOURS[1]
# A page column is about as wide in points, so that a phone shows text at the size it was drawn in.
WIDTH_IN, HEIGHT_IN = 5.2, 3.5
# More marks than this are drawn as pixels: a page of 20 000 circles does not scroll.
MAX_VECTOR_MARKS = 2000
STYLE: Any = {  # of strings; matplotlib 3.11 types each key, 3.10 knows none of those types
    "svg.fonttype": "none",  # letters stay letters: smaller, and the page's own font
    "svg.hashsalt": "signalml",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
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
# matplotlib's settings belong to the process; one figure is drawn at a time.
_DRAWING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure in a page: what it is, how to read it in a sentence, and the SVG element itself."""

    name: str
    title: str
    caption: str
    svg: str


def draw_picture(
    name: str, title: str, caption: str, draw: Callable[["Figure"], None], height_in: float = HEIGHT_IN
) -> Picture:
    """Draw a figure.

    Args:
        name: of letters and dashes, one of its kind in the page.
        title: what it shows, in a few words; with the caption what is read out to those who cannot see it.
        caption: how to read it, and of how many recordings it is.
        draw: draws into an empty figure.
        height_in: its height, in inches of a figure 5.2 inches wide.

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
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the page's font has it, if any has
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        figure.savefig(content, format="svg", dpi=150, metadata={"Date": None})
    caption = caption.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return Picture(name, title, caption, _inline(content.getvalue(), name, f"{title}. {caption}"))


def printable_name(name: str, longest: int = 28) -> str:
    """A name that somebody gave, as it can stand in a figure: in one line, not too long, nothing unprintable."""
    readable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return readable if len(readable) <= longest else readable[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def as_pixels(marks: int) -> bool:
    """Whether so many marks are drawn as pixels."""
    return marks > MAX_VECTOR_MARKS


def jitter(n: int, width: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sideways places for ``n`` marks of one column, -width to width, always the same."""
    return np.random.Generator(np.random.PCG64(n)).uniform(-width, width, n)


def _inline(svg: bytes, name: str, spoken: str) -> str:
    """The SVG as an element of an HTML page, where names of ids are shared and namespaces are not needed."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # what was drawn a line before, not what somebody sent
    for unwanted in (*root.findall("{*}metadata"), *root.findall("{*}defs[{*}style]")):  # the page has its own style
        root.remove(unwanted)
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    for element in root.iter():
        _adapt(element, name, used)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": spoken}
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
            element.set(key, "".join(value.split()))  # an image: base64 comes in lines
        elif key in ("clip-path", "style", "fill"):
            own_ids = value.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
            element.set(key, re.sub(r"'DejaVu Sans'[^;]*", "system-ui, sans-serif", own_ids))
