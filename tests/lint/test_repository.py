"""The repository stands on its own: nothing in it names the machine or the tools it was written with."""

import re
from pathlib import Path

from csource import REPOSITORY

ELSEWHERE = re.compile(
    r"(?<![\w.])/work/"
    r"|/opt/pythons"
    r"|(?<!\w)/root/"
    r"|(?<!\w)/home/\w"
    r"|\.pyenv"
    r"|\.\./shared\b"
    r"|\bissues show\b|\bbefore-stop\b"
    r"|pypi\.org|pythonhosted\.org|deb\.debian\.org|snapshot\.debian\.org"
)
RELATIVE_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
# The script finds interpreters where developers commonly keep them.
ALLOWED = {("tools/pythons.sh", ".pyenv")}
# What git ignores and builds leave behind.
GENERATED = re.compile(r"^(\.(?!ci$|clang-format$|gitignore$).*|__pycache__|build|dist|.*\.egg-info)$")


def repository_files(folder: Path = REPOSITORY):
    for path in sorted(folder.iterdir()):
        if GENERATED.match(path.name):
            continue
        if path.is_dir():
            yield from repository_files(path)
        else:
            yield path


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_the_machine_it_was_written_on():
    found = {
        (path.relative_to(REPOSITORY).as_posix(), match)
        for path in repository_files()
        if path != Path(__file__).resolve()
        for match in ELSEWHERE.findall(text_of(path))
    }
    assert found - ALLOWED == set()


def test_the_search_finds_the_one_place_that_is_allowed():
    assert ".pyenv" in ELSEWHERE.findall(text_of(REPOSITORY / "tools" / "pythons.sh"))


def test_links_in_the_documents_lead_somewhere():
    links = [
        (path, link)
        for path in repository_files()
        if path.suffix == ".md"
        for link in RELATIVE_LINK.findall(text_of(path))
    ]
    assert links
    assert [f"{path}: {link}" for path, link in links if not (path.parent / link).exists()] == []
