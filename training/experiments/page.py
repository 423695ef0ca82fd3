"""The page of the paper's experiments: what has run, with its numbers and pictures, and what has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.experiments.section import Section, Table, kept, write_whole

PAGE = "paper-results.md"
PICTURES = "paper"
"""Folder beside the page."""
HEAD = """# The paper's experiments, done again

Zhang, Gao, Xiong, Luo, Wu: *A Joint Convolution Auto-encoder Network for Infrared and Visible Image Fusion* (arXiv
2201.10736). How the paper is read: [paper.md](paper.md). Made by `python -m training.experiments`, which writes this
page anew: change the program, not the page. Pictures show a made-up pair, as those of the data sets may not be printed
here; `--pictures DIR` writes those of real pairs.
"""


def write_page(output: Path, cache: Path, titles: Mapping[str, str], reasons: Mapping[str, str]) -> None:
    """Write the page and its pictures from what the cache holds, pictures first.

    titles: of every experiment by its name. reasons: why some were not run. Raises OSError.
    """
    parts = [HEAD]
    for name, title in titles.items():
        found = kept(cache / name)
        parts.append(f"## {title}\n")
        if found is None:
            why = reasons.get(name, f"`python -m training.experiments --only {name}` with the folders of pictures")
            parts.append(f"Not run yet: {why}.\n")
            continue
        section = found[1]
        for picture in section.pictures:
            write_whole(output / PICTURES / picture.file, (cache / name / picture.file).read_bytes())
        parts.append(_markdown(section))
    write_whole(output / PAGE, "\n".join(parts).encode())


def _markdown(section: Section) -> str:
    lines = [section.how, ""]
    for table in section.tables:
        lines += [*_rows(table), ""]
    for picture in section.pictures:
        lines += [f"![{picture.caption}]({PICTURES}/{picture.file})", "", picture.caption, ""]
    for note in section.notes:
        lines += [note, ""]
    return "\n".join(lines)


def _rows(table: Table) -> list[str]:
    lines: Sequence[Sequence[str]] = [table.head, ["---"] * len(table.head), *table.rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
