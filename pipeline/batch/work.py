"""What a worker is asked to do, and does: plan a pair, fuse a chunk, or join. It knows no ledger and no cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

from engines.base import CrotalusError, Fuser
from pipeline.batch.chunk import Spec, fuse_chunk
from pipeline.batch.durable import is_full
from pipeline.batch.join import join
from pipeline.batch.place import is_address, parse_place
from pipeline.batch.plan import plan_of
from pipeline.batch.recipe import Recipe, fingerprint, recipe_of, version_of
from pipeline.batch.remote import Remote
from pipeline.batch.storage import CACHE_BYTES, Storage
from pipeline.batch.task import Task
from pipeline.frames import InputError

Kind = Literal["plan", "chunk", "join"]
Failure = Literal["input", "full", "lost", "other"]


class WorkError(CrotalusError):
    """A piece of work that was not done."""

    def __init__(self, text: str, why: Failure = "other") -> None:
        """why: `input` will fail again, `full` is a disk without room, `lost` a worker that has gone."""
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work, as plain values."""

    kind: Kind
    values: dict[str, Any]

    @property
    def file(self) -> str:
        """The VIS file that it is about: a worker that has it does more of it sooner."""
        return str(self.values.get("task", {}).get("vis", ""))

    @classmethod
    def plan(cls, task: Task, chunk: float, known: str = "", *, may_replace: bool = True) -> Work:
        """Cut a pair into chunks of at least so many s.

        known: a fingerprint; if it is still right, that is all. may_replace: what is at an output's address.
        """
        return cls("plan", {"task": task.to_json(), "chunk": chunk, "known": known, "may_replace": may_replace})

    @classmethod
    def chunk(cls, spec: Spec) -> Work:
        """Fuse a chunk."""
        return cls("chunk", spec.to_json())

    @classmethod
    def join(cls, task: Task, folder: Path, plan: str, count: int, *, may_replace: bool) -> Work:
        """Put the chunks of a pair together."""
        values = {"task": task.to_json(), "folder": str(folder), "plan": plan, "count": count}
        return cls("join", {**values, "may_replace": may_replace})


class Worker:
    """Does work, one piece after another; keeps its network open from one to the next."""

    def __init__(self, threads: int, *, cache: int = CACHE_BYTES) -> None:
        """threads: of network and codecs; they should be as many as the cores it is given.

        cache: bytes of copies of remote files on this machine, for all its workers together.
        """
        self._threads, self._storage = threads, Storage(limit=cache)
        self._open: tuple[Any, Fuser | None] | None = None

    def do(self, work: Work, *, stop: Event | None = None) -> dict[str, Any]:
        """The result as plain values. Raises WorkError, whatever went wrong."""
        try:
            return {"plan": self._plan, "chunk": self._chunk, "join": self._join}[work.kind](work.values, stop)
        except Exception as error:
            text = (
                str(error) if isinstance(error, CrotalusError | FileExistsError) else f"{type(error).__name__}: {error}"
            )
            why: Failure = (
                "full" if is_full(error) else "input" if isinstance(error, InputError | FileExistsError) else "other"
            )
            raise WorkError(" ".join(text.split()), why) from error

    def close(self) -> None:
        """Give the network's memory back."""
        if self._open is not None and self._open[1] is not None:
            with suppress(CrotalusError):
                self._open[1].close()
        self._open = None

    def _plan(self, values: Mapping[str, Any], stop: Event | None) -> dict[str, Any]:
        task, chunk = Task.from_json(values["task"]), values["chunk"]
        if is_address(task.out):
            self._check_address(task.out, may_replace=values["may_replace"])
        with self._brought(task) as (local, stamps):
            recipe = recipe_of(local, threads=self._threads)
            found = fingerprint(task, recipe, chunk, stamps)
            return {"fingerprint": found, **({} if found == values["known"] else plan_of(recipe, chunk).to_json())}

    def _chunk(self, values: Mapping[str, Any], stop: Event | None) -> dict[str, Any]:
        spec = replace(Spec.from_json(values), threads=self._threads)
        with self._brought(spec.task) as (local, _):
            fused = fuse_chunk(spec, local, self._fuser, stop=stop)
        told = {name: value for name, value in fused.to_json().items() if name not in ("pts", "digests")}
        return {**told, "frames": len(fused.pts), "framehash": fused.framehash}

    def _join(self, values: Mapping[str, Any], stop: Event | None) -> dict[str, Any]:
        task, folder = Task.from_json(values["task"]), Path(values["folder"])
        with self._brought(task) as (local, _):
            away = is_address(task.out)
            out = folder / f"whole{Path(parse_place(task.out).name).suffix}" if away else Path(task.out)
            recipe = recipe_of(replace(local, out=str(out)), threads=self._threads)
            joined = join(recipe, folder, values["plan"], values["count"], may_replace=values["may_replace"] or away)
            if away:
                self._storage.put(out, task.out)
        return {name: getattr(joined, name) for name in joined.__slots__}

    @contextmanager
    def _brought(self, task: Task) -> Iterator[tuple[Task, list[str]]]:
        """The task with its files on this machine while the body runs, and what tells their versions."""
        places = [place for place in (task.ir, task.vis, task.rig) if place]
        with self._storage.fetch(*places) as paths:
            ir, vis, *rig = map(str, paths)
            local = replace(task, ir=ir, vis=vis, rig=rig[0] if rig else None)
            if is_address(task.out):
                local = replace(local, out=parse_place(task.out).name)
            yield local, [version_of(place, path) for place, path in zip(places, paths, strict=True)]

    def _check_address(self, out: str, *, may_replace: bool) -> None:
        self._storage.check_writable(out)
        place = parse_place(out)
        if not may_replace:
            with suppress(InputError):  # nothing there
                size = Remote(place).facts().size
                raise FileExistsError(f"{place}: exists, {size} bytes; pass --overwrite or name another output")

    def _fuser(self, recipe: Recipe) -> Fuser | None:
        if self._open is None or self._open[0] != recipe.network:
            self.close()
            self._open = recipe.network, recipe.open(threads=self._threads)
        return self._open[1]
