"""Says what a file is that is not what its name promises: a pointer, a web page, an archive, another picture."""

import re

AS_PHOTO = "save it as JPEG or PNG"
AS_JSON = "export the annotations as COCO json"
"""What to do with a file of another kind, by what it is to be."""

_UNPACKED: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"/annex/objects/", "it is a git-annex pointer, not the file itself; run `git annex get`"),
    (b"PK\x03\x04", "it is a zip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it"),
    (b"\x1f\x8b", "it is compressed by gzip; unpack it"),
    (b"BZh", "it is compressed by bzip2; unpack it"),
    (b"\xfd7zXZ", "it is compressed by xz; unpack it"),
)

_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
)

_PHOTOS: tuple[tuple[bytes, str], ...] = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG", "PNG"))

_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}
"""Of ISO media files; those of other brands are mostly videos."""

_MARKUP = re.compile(rb"<[?!a-z]")
_WEB = (b"<html", b"<!doctype html", b"<head", b"<body", b"<script")

_TAR = slice(257, 262)
"""Where a tar archive says that it is one."""


def mistaken(head: bytes, remedy: str = AS_PHOTO) -> str | None:
    """Return what a file is that begins so, with the remedy, or None if that cannot be told.

    Args:
        head: its first bytes, 512 where it has them.
        remedy: AS_PHOTO or AS_JSON.
    """
    if not head:
        return "it is empty; fetch it again"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, description in _UNPACKED:
        if head.startswith(beginning) or (beginning.isascii() and text.startswith(beginning)):
            return description
    if head[_TAR] == b"ustar":
        return "it is a tar archive; unpack it"
    if head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return f"it is a pickle of Python; {remedy}"
    lower = text.lower()
    if _MARKUP.match(lower):
        if lower.startswith(_WEB) or _WEB[0] in lower:  # which may follow an XML declaration or a comment
            return "it is a web page; fetch it again, signed in where the site asks for that"
        return f"it is {'XML' if remedy == AS_JSON else 'an SVG or XML file'}; {remedy}"
    kinds = (*_PICTURES, *_PHOTOS) if remedy == AS_JSON else _PICTURES  # a photo that begins as one is damaged
    kind = next((kind for beginning, kind in kinds if head.startswith(beginning)), None)
    if head[4:8] == b"ftyp":
        kind = _BRANDS.get(head[8:12], "HEIC, or a video")
    return f"it is a picture of the kind {kind}; {remedy}" if kind else None
