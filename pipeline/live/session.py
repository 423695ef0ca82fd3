"""A live run as a person starts it: cameras, network, page and recording opened, shown while it goes, accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.base import Fuser
from pipeline.align import Geometry
from pipeline.arguments import parse_size
from pipeline.chosen import check_chosen, open_chosen
from pipeline.encoding import SinkSettings
from pipeline.frames import InputError
from pipeline.interrupt import Interrupt
from pipeline.json_file import check_json_path, write_json
from pipeline.live.address import Address, parse_address
from pipeline.live.camera import Camera
from pipeline.live.config import LiveConfig, RecordSection
from pipeline.live.match import Side
from pipeline.live.notify import Notifier
from pipeline.live.pairing import Pairing
from pipeline.live.playback import Epoch
from pipeline.live.recorder import RecordSettings
from pipeline.live.run import LiveJob, LiveRun, Viewers
from pipeline.live.status import Controls, LiveStatus, Panel
from pipeline.live.terminal import Notices, Screen, account
from pipeline.palettes import PALETTES
from pipeline.rigging import clock_offset, reference_of, rigging_of
from pipeline.thermal import parse_region
from pipeline.voice import Voice

STUCK = 30.0
"""s without the line coming round, after which the service manager is left to its own thoughts."""


class Session:
    """One run from its opening to its account. Main thread."""

    def __init__(
        self,
        wanted: LiveConfig,
        stats: Path | None = None,
        *,
        may_replace: bool = False,
        make_fuser: Callable[[], Fuser] | None = None,
    ) -> None:
        """stats: a JSON file for the account. Raises InputError for what cannot be; nothing is open then."""
        self._wanted, self._stats = wanted, stats
        if stats:
            check_json_path(stats, may_replace=may_replace)
        self._job = job_of(wanted, may_replace=may_replace)
        self._panel = panel_of(wanted)
        self._addresses = {side: _live_address(text) for side, text in sources(wanted).items()}
        self._make_fuser = make_fuser or self._open_fuser
        self._voice, self._complain = Voice(), Voice(stderr=True)
        self.is_left_behind = False
        """After `run`: the network hangs in its last picture, and the process cannot end in the usual way."""

    def run(self) -> int:
        """Run until it is over and return the exit code. Raises what ended it if it did not end by itself."""
        with ExitStack() as stack:
            notices = stack.enter_context(_notices())
            stack.callback(lambda: self._tell(notices))
            interrupt = stack.enter_context(Interrupt())
            fuser = self._make_fuser()
            viewers, url = self._page(stack)
            epoch = Epoch(time.monotonic())  # files play together
            cameras: dict[Side, Camera] = {side: Camera(side, address, epoch=epoch)
                                           for side, address in self._addresses.items()}  # fmt: skip
            run = LiveRun(self._job, cameras, fuser, self._panel, viewers=viewers)
            self._voice.print(f"{fuser.name}: {' + '.join(address.label for address in self._addresses.values())}")
            if url:
                self._voice.print(f"page: {url}")
            try:
                status = self._watch(run, interrupt, notices)
            finally:
                self.is_left_behind = run.is_left_behind
                if not run.is_left_behind:
                    fuser.close()
        return self._account(status, interrupt)

    def _watch(self, run: LiveRun, interrupt: Interrupt, notices: Notices) -> LiveStatus:
        """Start the run, show it until it is over, close it; the status just before that."""
        service = Notifier()
        with Screen(self._voice, self._complain) as screen:
            try:
                run.start()
                service.ready()
                while not interrupt.stop.is_set() and run.tick():
                    if time.monotonic() - run.line.beat < STUCK:
                        service.alive()
                    screen.tell(notices.take())
                    screen.show(run.status())
            finally:
                service.stopping()
                status = run.status()
                run.close()
                screen.tell(notices.take())
        return replace(status, recording=run.status().recording)

    def _account(self, status: LiveStatus, interrupt: Interrupt) -> int:
        for line in account(status):
            self._voice.print(line)
        is_interrupted = interrupt.stop.is_set()
        if self._stats:
            write_json(self._stats, {"is_interrupted": is_interrupted, **status.to_json()})
        has_failed = status.recording is not None and bool(status.recording["error"])
        return interrupt.exit_code if is_interrupted else int(has_failed)

    def _open_fuser(self) -> Fuser:
        network = self._wanted.network
        return open_chosen(network.method, network.model, network.backend, threads=network.threads)

    def _page(self, stack: ExitStack) -> tuple[Viewers | None, str]:
        """The hub of the page and where the page is; None and nothing if there is to be none."""
        page = self._wanted.preview
        if page.address.strip().lower() == "off":
            return None, ""
        from pipeline.preview.hub import Hub
        from pipeline.preview.server import open_preview

        hub = Hub(self._panel)
        server = open_preview(page.address, hub, token=page.token, viewers=page.viewers, hosts=tuple(page.hosts))
        return hub, stack.enter_context(server).url

    def _tell(self, notices: Notices) -> None:
        for line in notices.take():
            self._complain.print(line)


def _live_address(text: str) -> Address:
    """Raises InputError for a file that is not to be played at its own pace: a camera has one."""
    address = parse_address(text)
    if address.kind == "file" and not address.realtime:
        raise InputError(f"{address.label}: realtime=0 has no pace to pair by; use `fuse` for files, or leave it out")
    return address


def sources(wanted: LiveConfig) -> dict[Side, str]:
    """Both addresses. Raises InputError if one is missing."""
    given: dict[Side, str | None] = {"ir": wanted.ir, "vis": wanted.vis}
    for side, text in given.items():
        if text is None:
            raise InputError(f"live: no {side} camera; give --{side} URL, or {side}: URL in a file for --config")
    return {side: text for side, text in given.items() if text is not None}


def job_of(wanted: LiveConfig, *, may_replace: bool) -> LiveJob:
    """What the run does with its frames. Raises InputError."""
    pairing, geometry, record = wanted.pairing, wanted.geometry, wanted.record
    check_chosen(wanted.network.method, wanted.network.model, wanted.network.backend)
    rigging = rigging_of(None if geometry.rig is None else Path(geometry.rig), geometry.depth)
    settings = None
    _check_segments(record)
    if record.path is not None:
        limits: dict[str, Any] = {} if record.min_free is None else {"min_free": record.min_free}
        threads = wanted.network.threads
        sink = SinkSettings(record.codec, record.crf, record.preset, threads=threads, overwrite=may_replace)
        settings = RecordSettings(Path(record.path), record.segment, record.keep_age, record.keep_bytes, sink=sink,
                                  **limits)  # fmt: skip
    region = wanted.picture.region
    return LiveJob(
        Pairing(clock_offset(pairing.offset, rigging), pairing.tolerance, pairing.master, pairing.age_limit),
        Geometry(
            reference_of(geometry.reference, rigging),
            parse_size(geometry.size) if geometry.size else None,
            geometry.shift,
            rigging,
            geometry.work_height,
        ),
        pairing.on_loss,
        None if region is None else parse_region(region),
        settings,
        wanted.duration,
        wanted.picture.steady,
    )


def _check_segments(record: RecordSection) -> None:
    """Raises InputError for limits that nothing would come of."""
    for name, needed in (("segment", "path"), ("keep_age", "segment"), ("keep_bytes", "segment")):
        if getattr(record, name) is not None and getattr(record, needed) is None:
            option = {"path": "--record OUT", "segment": "--segment TIME"}[needed]
            given = f"--{name.replace('_', '-')} (record.{name})"
            raise InputError(f"{given}: given without {option} (record.{needed}); give both or neither")


def panel_of(wanted: LiveConfig) -> Panel:
    """The controls as the run begins. A palette of the user's own joins those to choose from."""
    picture = wanted.picture
    names = ("view", "palette", "agc", "nudge", "weight", "hot_level", "overlay")
    controls = Controls(**{name: getattr(picture, name) for name in names}, recording=wanted.record.path is not None)
    palettes = PALETTES if picture.palette in PALETTES else (*PALETTES, picture.palette)
    try:
        return Panel(controls, palettes=palettes)
    except ValueError as error:
        raise InputError(f"picture: {error}") from error


@contextmanager
def _notices() -> Iterator[Notices]:
    """What the pipeline logs, collected instead of printed by whichever thread logs it."""
    log, notices = logging.getLogger("pipeline"), Notices()
    before, log.propagate = log.propagate, False
    log.addHandler(notices)
    try:
        yield notices
    finally:
        log.propagate = before
        log.removeHandler(notices)
