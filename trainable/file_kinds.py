"""Says what a file is that is not what its name promises: a pointer, a web page, an archive, another picture."""

_PICTURES = "it is a picture of the kind {}; save it as JPEG or PNG"

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"/annex/objects/", "it is a git-annex pointer, not the file itself; run `git annex get`"),
    (b"PK\x03\x04", "it is a zip archive; unpack it"),
    (b"\x1f\x8b", "it is compressed by gzip; unpack it"),
    (b"GIF8", _PICTURES.format("GIF")),
    (b"%PDF", _PICTURES.format("PDF")),
    (b"%!PS", _PICTURES.format("PostScript")),
    (b"8BPS", _PICTURES.format("Photoshop")),
    (b"\x00\x00\x00\x0cjP  ", _PICTURES.format("JPEG 2000")),
    (b"\x00\x00\x00\x0cJXL ", _PICTURES.format("JPEG XL")),
    (b"\xff\x0a", _PICTURES.format("JPEG XL")),
)


def mistaken(head: bytes) -> str | None:
    """Return what a file is that begins so, with the remedy, or None if that cannot be told.

    Args:
        head: its first bytes, 64 or more where it has them.
    """
    if not head:
        return "it is empty; fetch it again"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, told in _BEGINNINGS:
        if head.startswith(beginning) or (beginning.isascii() and text.startswith(beginning)):
            return told
    if text[:14].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "it is a web page; fetch it again, signed in where the site asks for that"
    if head[4:8] == b"ftyp":
        kind = {b"avif": "AVIF", b"avis": "AVIF"}.get(head[8:12], "HEIC, or a video")
        return _PICTURES.format(kind)
    return None
