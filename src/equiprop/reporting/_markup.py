"""Text that others have written, in a page or a figure."""

from html import escape

from equiprop.errors import printable


def escaped(text: object) -> str:
    """As characters of HTML and SVG: neither tags nor control characters."""
    return escape(printable(str(text)))
