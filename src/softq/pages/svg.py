"""A picture's SVG as an element of a page, in the page's own colours and letters."""

import re

from softq.plots import COLOURS, GREY

INK, FAINT = "#1b1f24", "#c9ced6"
THEMED = {c: f"var(--c{k})" for k, c in enumerate(COLOURS)}
THEMED |= {INK: "var(--ink)", FAINT: "var(--faint)", GREY: "var(--grey)"}


def inline(svg: str, name: str) -> str:
    """A file of SVG as an element of a page: no address, ids of its own, the page's
    letters and colours, and no more digits than are seen.
    """
    svg = svg[svg.index("<svg") :]
    for gone in (r"<metadata>.*?</metadata>", r"<defs>\s*<style.*?</style>\s*</defs>",
                 r"<!--.*?-->", r' xmlns(:\w+)?="[^"]*"',
                 r' (?:width|height)="[\d.]+pt"', r'(?<=<g) id="[^"]*"'):  # fmt: skip
        svg = re.sub(gone, "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    for colour, of_page in THEMED.items():
        svg = svg.replace(colour.lower(), of_page)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
