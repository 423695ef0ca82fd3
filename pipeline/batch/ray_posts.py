"""The workers of a cluster as the driver sees them: which one is free, and which has a copy of a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.batch.pool import Outcome
from pipeline.batch.work import Work

Item = tuple[Work, Outcome]
"""A piece of work, and what is to become of it."""


@dataclass(slots=True, eq=False)
class Post:
    """A worker, or one that is being started."""

    actor: Any
    host: str = ""
    """Name and process, once it has said so; before, it gets no work."""
    node: str = ""
    """Of Ray: its machine."""
    item: Item | None = None
    """What it is at."""
    file: str = ""
    """That it worked on last: its machine has a copy."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Work whose worker has gone, until it is known whether its machine has, too."""

    item: Item
    node: str
    why: str
    """The error, if it was the worker alone."""
    until: float
    """When that is taken for granted, on the monotonic clock."""


def hand_out(posts: Sequence[Post], waiting: deque[Item]) -> Iterator[tuple[Post, Work]]:
    """Give waiting work to workers without any, in its order, and tell which.

    It goes to a machine whose workers have had its file, if one is free there, else to whoever is: files from elsewhere
    are copied as rarely as can be, and nobody waits for a better place.
    """
    for is_home in (True, False):
        for post in posts:
            if post.host and post.item is None:
                item = next((item for item in waiting if not is_home or _is_near(post, item[0].file, posts)), None)
                if item is not None:
                    waiting.remove(item)
                    post.item, post.file = item, item[0].file
                    yield post, item[0]


def _is_near(post: Post, file: str, posts: Sequence[Post]) -> bool:
    return bool(file) and any(other.node == post.node and other.file == file for other in posts)
