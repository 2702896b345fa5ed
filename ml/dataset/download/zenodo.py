"""Files of a Zenodo record: name, size, checksum and address."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.errors import DownloadFailed

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Archive:
    """File that can be downloaded.

    Attributes:
        name: file name, such as ``6_dB_fan.zip``.
        url: address.
        bytes: size.
        md5: checksum, 32 hexadecimal digits.
    """

    name: str
    url: str
    bytes: int
    md5: str


def list_archives(client: "httpx.Client", source: str) -> dict[str, Archive]:
    """Return all files of a record, by name.

    Args:
        client: HTTP client.
        source: address of the record's JSON.

    Raises:
        DownloadFailed: there is no answer, or it is no record.
    """
    import httpx

    try:
        response = client.get(source).raise_for_status()
        files = response.json()["files"]
        listed = [_archive(source, file) for file in files]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadFailed(f"{source} did not answer with the list of archives: {error_summary(error)}.") from error
    except (ValueError, LookupError, TypeError) as error:
        raise DownloadFailed(
            f"{source} did not answer with a Zenodo record: files with key, size, checksum and links were expected."
        ) from error
    return {archive.name: archive for archive in listed}


def _archive(source: str, file: dict[str, Any]) -> Archive:
    checksum, size, url = file["checksum"], file["size"], file["links"]["self"]
    if not re.fullmatch(r"md5:[0-9a-f]{32}", checksum) or not isinstance(size, int) or size <= 0:
        raise ValueError(checksum)
    # A record that was read over TLS must not lead to a download without TLS.
    if not url.startswith(("https://",) if source.startswith("https://") else ("https://", "http://")):
        raise ValueError(url)
    return Archive(str(file["key"]), url, size, checksum.removeprefix("md5:"))


def error_summary(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
