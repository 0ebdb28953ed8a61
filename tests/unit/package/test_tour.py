"""docs/tour.md: its picture is what the sources look like now, and its links lead to chapters that are there."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PICTURE = REPOSITORY / "docs" / "tour.svg"
LINK_TO_CHAPTER = re.compile(r"\]\(([\w./]+)#([\w-]+)\)")
HOP = re.compile(r"^\| `([\w/]+\.c)` \| (.*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(REPOSITORY / "tools" / "draw_tour.py"))


def test_the_picture_is_what_the_script_draws_now(script):
    """Else `python tools/draw_tour.py` draws it anew."""
    assert PICTURE.read_text(encoding="utf-8") == script["draw"]()


def test_the_picture_shows_every_floor_and_file(script):
    shown = {element.text for element in ElementTree.parse(PICTURE).iter() if element.tag.endswith("text")}
    folders = {path.name for path in (REPOSITORY / "src" / "_fastloop").iterdir() if path.is_dir()}
    assert {"api", "base", "stream", "epoll.c", "list.h"} <= shown
    assert folders == set(script["FLOORS"])
    assert {name for names in script["read_files"]().values() for name in names} <= shown


def test_nothing_in_the_picture_runs_upward(script):
    floors = list(script["FLOORS"])
    uses = script["read_uses"]()
    assert ("tls", "net") in uses
    assert [pair for pair in uses if floors.index(pair[0]) > floors.index(pair[1])] == []


def chapters(document: Path) -> set[str]:
    """The anchors that headings get, as the common viewers make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_to_chapters_that_are_there():
    links = LINK_TO_CHAPTER.findall((REPOSITORY / "docs" / "tour.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if link[1] not in chapters(REPOSITORY / "docs" / link[0])] == []


def test_each_hop_of_a_journey_names_a_function_of_its_file():
    hops = HOP.findall((REPOSITORY / "docs" / "tour.md").read_text(encoding="utf-8"))
    assert len(hops) > 20
    for file, what in hops:
        code = (REPOSITORY / "src" / "_fastloop" / file).read_text(encoding="utf-8")
        functions = re.findall(r"`(\w+)(?:\(\))?`", what)
        assert any(re.search(rf"^{name}\(", code, re.MULTILINE) for name in functions), (file, what)
