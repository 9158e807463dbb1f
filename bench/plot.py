"""Horizontal bars as SVG, in tones that can be read on white and on black."""

from xml.sax.saxutils import escape

TEXT = "#768390"
OURS = "#2f9e6e"
OTHERS = "#7a8fb8"
WIDTH, LABEL, VALUE, BAR, GAP = 860, 230, 150, 18, 6


def bars(title, groups, path, ours, one_scale=True):
    """groups: (heading, [(label, value, text)]). Labels that `ours` holds true for stand out."""
    largest = max(value for _, rows in groups for _, value, _ in rows)
    parts, y = [text(0, 22, title, size=16, weight=600)], 48
    for heading, rows in groups:
        parts.append(text(0, y, heading, weight=600))
        y += 10
        longest = largest if one_scale else max(value for _, value, _ in rows)
        scale = (WIDTH - LABEL - VALUE) / longest
        for label, value, shown in rows:
            colour, width = OURS if ours(label) else OTHERS, max(1, value * scale)
            parts.append(text(LABEL - 10, y + 13, label, anchor="end"))
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
            )
            parts.append(text(LABEL + width + 8, y + 13, shown))
            y += BAR + GAP
        y += 22
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 16}" width="{WIDTH}"'
        f' role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
        f' font-size="13" fill="{TEXT}"><title>{escape(title)}</title>'
    )
    path.write_text("\n".join([head, *parts, "</svg>\n"]))


def text(x, y, content, anchor="start", size=None, weight=None):
    extra = "".join(
        f' {name}="{value}"' for name, value in (("font-size", size), ("font-weight", weight)) if value
    )
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'
