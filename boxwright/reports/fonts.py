"""The font that a PDF writes Chinese by: one of this machine, put into the file, or one that readers bring."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from reportlab.lib.fonts import addMapping
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

# Families whose outlines ReportLab can take a part of (TrueType; those of Noto CJK and Source Han are another kind),
# where Debian, macOS and Windows put them.
_FILES = (
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
    "/mnt/c/Windows/Fonts/msyh.ttc",
)
_EMBEDDED = "Boxwright-CJK"
# Adobe's name for a font that every reader with Chinese support stands another in for. Nothing of it is in the file.
_BY_READER = "STSong-Light"


@cache
def chinese_font() -> str:
    """The name of a registered font that has Chinese letters."""
    for path in map(Path, _FILES):
        if path.is_file():
            try:
                return _registered(TTFont(_EMBEDDED, str(path), subfontIndex=0))
            except TTFError:
                continue
    return _registered(UnicodeCIDFont(_BY_READER))


def _registered(font: TTFont | UnicodeCIDFont) -> str:
    """Make a font known, in bold, too: it has one weight."""
    pdfmetrics.registerFont(font)
    name: str = font.fontName
    for bold in (0, 1):
        for italic in (0, 1):
            addMapping(name, bold, italic, name)
    return name
