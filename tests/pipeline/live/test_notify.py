"""What systemd is told, read from a socket of our own."""

from __future__ import annotations

import os
import socket

import pytest

from pipeline.live.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A listening socket and the environment that a service gets."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0crotalus-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.setblocking(False)
        yield listener, {"NOTIFY_SOCKET": name.replace("\0", "@", 1), "WATCHDOG_USEC": "30000000"}


def heard(listener):
    said = []
    while True:
        try:
            said.append(listener.recv(4096).decode())
        except BlockingIOError:
            return said


def test_each_state_is_one_datagram(systemd):
    listener, environment = systemd
    notifier = Notifier(environment)
    notifier.ready()
    notifier.status("fusing\nat 25 fps")
    notifier.stopping()
    assert heard(listener) == ["READY=1", "STATUS=fusing at 25 fps", "STOPPING=1"]


def test_the_watchdog_is_fed_twice_a_period_however_often_the_line_turns(systemd):
    listener, environment = systemd
    now = [1000.0]
    notifier = Notifier(environment, clock=lambda: now[0])
    assert notifier.interval == 15.0
    for _ in range(600):  # a minute at 10 turns a second
        notifier.alive()
        now[0] += 0.1
    assert heard(listener) == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    "changes",
    [{"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_PID": "1"}],
    ids=["unset", "no number", "zero", "of another process"],
)
def test_without_a_watchdog_of_ours_nothing_is_fed(systemd, changes):
    listener, environment = systemd
    Notifier(environment | changes).alive()
    assert heard(listener) == []


def test_our_own_process_is_meant(systemd):
    listener, environment = systemd
    Notifier(environment | {"WATCHDOG_PID": str(os.getpid())}).alive()
    assert heard(listener) == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", [None, "", "/no/such/socket", "@no-such-socket", "relative", "/" + "x" * 200])
def test_nobody_there_is_no_error(address):
    notifier = Notifier({} if address is None else {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    notifier.ready()
    notifier.alive()
    notifier.stopping()


def test_a_full_socket_makes_nobody_wait(systemd):
    listener, environment = systemd
    notifier = Notifier(environment)
    for _ in range(5000):
        notifier.ready()
    assert 0 < len(heard(listener)) < 5000
