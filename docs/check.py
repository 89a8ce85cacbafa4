"""Looks through the built site: nothing loads from elsewhere, no link inside is dead.

python docs/check.py docs/_build/html
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
}
STYLES = {"stylesheet", "preload", "icon", "shortcut icon", "modulepreload"}
ELSEWHERE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//")


class Page(HTMLParser):
    """Names, links and loaded addresses of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.names |= {found[n] for n in ("id", "name") if n in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADS and LOADS[tag] in found:
            self.loads.append(found[LOADS[tag]])
        if tag == "link" and found.get("rel") in STYLES:
            self.loads.append(found.get("href", ""))


def check(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = [] if pages else [f"{site} holds no page"]
    for path, page in pages.items():
        where = path.relative_to(site)
        wrong += [f"{where} loads {x}" for x in page.loads if urlsplit(x).netloc]
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            target = path.resolve() if not parts.path else target
            if not target.exists():
                wrong.append(f"{where} links to {link}, which is not there")
            elif parts.fragment and target.suffix == ".html":
                known = pages[site / target.relative_to(site.resolve())].names
                if unquote(parts.fragment) not in known:
                    wrong.append(f"{where} links to {link}, which has no such part")
    for path in sorted(site.rglob("*.css")):
        if ELSEWHERE.search(path.read_text(encoding="utf-8")):
            wrong.append(f"{path.relative_to(site)} loads something from elsewhere")
    return wrong


if __name__ == "__main__":
    found = check(Path(sys.argv[1]))
    print("\n".join(found) or f"{sys.argv[1]}: no dead link, nothing from elsewhere")
    sys.exit(bool(found))
