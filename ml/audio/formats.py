"""File formats of recordings: how each is recognised by its first bytes, and what decodes it.

A file is recognised by its bytes. Its name and the media type that a client gives are not used.
"""

from dataclasses import dataclass
from typing import Literal

Decoder = Literal["here", "libsndfile", "pyav"]
"""``here``: the readers of this package; the others work in a child process, see :mod:`ml.audio.decoder`."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """Format of a file.

    Attributes:
        name: name of the format, for :attr:`ml.audio.limits.Header.container`.
        title: name for people, with its article.
        suffixes: file suffixes, the usual one first.
        media_type: media type of such a file.
        decoder: what decodes it.
        demuxer: name of FFmpeg's reader of the format; empty if PyAV is not used.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    media_type: str
    decoder: Decoder
    demuxer: str = ""


WAV = FileFormat("wav", "a WAV file", (".wav", ".wave", ".bwf", ".rf64", ".bw64"), "audio/wav", "here", "wav")
WAVE64 = FileFormat("w64", "a Wave64 file", (".w64",), "audio/x-w64", "here", "w64")
AIFF = FileFormat("aiff", "an AIFF file", (".aiff", ".aif", ".aifc"), "audio/aiff", "here", "aiff")
FLAC = FileFormat("flac", "a FLAC file", (".flac",), "audio/flac", "here", "flac")
MP3 = FileFormat("mp3", "an MP3 file", (".mp3", ".mp2"), "audio/mpeg", "libsndfile", "mp3")
OGG = FileFormat("ogg", "an Ogg file", (".ogg", ".oga", ".opus", ".spx"), "audio/ogg", "libsndfile", "ogg")
CAF = FileFormat("caf", "a CAF file", (".caf",), "audio/x-caf", "libsndfile", "caf")
AU = FileFormat("au", "an AU file", (".au", ".snd"), "audio/basic", "libsndfile", "au")
VOC = FileFormat("voc", "a VOC file", (".voc",), "audio/x-voc", "libsndfile", "voc")
NIST = FileFormat("nist", "a NIST Sphere file", (".sph", ".nist"), "audio/x-nist", "libsndfile", "nistsphere")
MP4 = FileFormat("mp4", "an MP4 or M4A file", (".m4a", ".mp4", ".m4b", ".3gp"), "audio/mp4", "pyav", "mov")
AAC = FileFormat("aac", "an AAC file", (".aac",), "audio/aac", "pyav", "aac")
WMA = FileFormat("wma", "a Windows Media file", (".wma", ".asf"), "audio/x-ms-wma", "pyav", "asf")
MATROSKA = FileFormat(
    "matroska", "a Matroska or WebM file", (".mka", ".webm", ".weba"), "audio/x-matroska", "pyav", "matroska"
)
AMR = FileFormat("amr", "an AMR file", (".amr",), "audio/amr", "pyav", "amr")
WAVPACK = FileFormat("wv", "a WavPack file", (".wv",), "audio/x-wavpack", "pyav", "wv")
APE = FileFormat("ape", "a Monkey's Audio file", (".ape",), "audio/x-ape", "pyav", "ape")
TTA = FileFormat("tta", "a TTA file", (".tta",), "audio/x-tta", "pyav", "tta")
AVI = FileFormat("avi", "an AVI file", (".avi",), "video/x-msvideo", "pyav", "avi")

FORMATS = (
    *(WAV, WAVE64, AIFF, FLAC, MP3, OGG, CAF, AU, VOC, NIST, MP4, AAC, WMA, MATROSKA, AMR, WAVPACK, APE, TTA, AVI),
)
# A dataset has the files with these suffixes. Video files are not looked for.
SUFFIXES = tuple(suffix for each in FORMATS for suffix in each.suffixes if each is not AVI)
# Sound that cannot be decoded.
OTHER_SUFFIXES = (".ac3", ".aax", ".dff", ".dsf", ".dts", ".mid", ".mpc", ".ra", ".rm")

BY_FIRST_FOUR = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), WAV),
    b"riff": WAVE64,
    b"FORM": AIFF,
    b"fLaC": FLAC,
    b"OggS": OGG,
    b"caff": CAF,
    b".snd": AU,
    b"wvpk": WAVPACK,
    b"MAC ": APE,
    b"TTA1": TTA,
    b"\x1aE\xdf\xa3": MATROSKA,
}
# Offset, bytes at this offset, format.
KNOWN_BYTES = (
    (0, b"ID3", MP3),
    (0, b"Creative Voice File", VOC),
    (0, b"NIST_1A", NIST),
    (4, b"ftyp", MP4),
    (0, bytes.fromhex("3026b2758e66cf11"), WMA),
    (0, b"#!AMR", AMR),
)
# Offset, bytes at this offset, name in the message that refuses the file.
OTHER_FILES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"MThd", "a MIDI file"),
    (0, b"DSD ", "a DSD file"),
    (0, b"FRM8", "a DSD file"),
    (0, b"{", "a JSON text"),
    (0, b"<", "an HTML or XML text"),
)

HEAD_BYTES = 64  # as many are enough to recognise a file


def recognise(data: memoryview) -> FileFormat | None:
    """Return the format of a file by its first bytes; None if it is none of :data:`FORMATS`.

    Example:
        >>> recognise(memoryview(b"RIFF....WAVEfmt ")).name, recognise(memoryview(b"....ftypM4A ")).title
        ('wav', 'an MP4 or M4A file')
    """
    if (found := BY_FIRST_FOUR.get(bytes(data[:4]))) is not None:
        return AVI if found is WAV and bytes(data[8:12]) == b"AVI " else found
    for offset, magic, found in KNOWN_BYTES:
        if bytes(data[offset : offset + len(magic)]) == magic:
            return found
    # A frame of MPEG audio begins with 11 bits 1, 2 bits version (not 01) and 2 bits layer; layer 0 is AAC (ADTS).
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x18 != 0x08 and data[2] >> 4 != 15:
        return MP3 if data[1] & 0x06 else AAC if data[1] & 0xF0 == 0xF0 else None
    return None


def without_id3(data: memoryview) -> memoryview:
    """Return a FLAC, WAV, AIFF or AAC file without an ID3 tag before it; other files as they are.

    Example:
        >>> bytes(without_id3(memoryview(b"ID3" + bytes([4, 0, 0, 0, 0, 0, 2]) + b"ABfLaC")))
        b'fLaC'
    """
    if bytes(data[:3]) != b"ID3" or len(data) < 10:
        return data
    size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    rest = data[10 + size :]
    found = recognise(rest)
    return rest if found is not None and found is not MP3 and found.name != "mp4" else data


def looks_like(data: memoryview) -> str:
    """Return what a file that is no recording looks like, for a message.

    Example:
        >>> looks_like(memoryview(b"%PDF-1.7"))
        'a PDF document'
    """
    for offset, magic, name in OTHER_FILES:
        if bytes(data[offset : offset + len(magic)]) == magic:
            return name
    return f"a file that starts with the bytes {bytes(data[:4]).hex(' ')}"
