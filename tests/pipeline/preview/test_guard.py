"""Who is let in: token, Host, Origin."""

from __future__ import annotations

import secrets

import pytest

from pipeline.frames import InputError
from pipeline.preview.guard import HEADERS, MAX_BODY, make_guard

TOKEN = "correct-horse-battery"


@pytest.fixture
def local():
    return make_guard("127.0.0.1", 8080, None)


@pytest.fixture
def network():
    return make_guard("0.0.0.0", 8080, TOKEN, ("cam.example",))


def status(guard, method="GET", path="/stats.json", **headers):
    named = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = guard.refusal(method, path, named)
    return 200 if refusal is None else int(refusal[0])


def test_on_loopback_all_may_look_and_nobody_change_without_the_token(local):
    assert status(local) == 200
    assert status(local, "POST", "/controls") == 401
    assert status(local, "POST", "/controls", authorization=f"Bearer {local.token}") == 200
    assert status(local, "POST", "/controls", cookie=f"other=1; {local.cookie}={local.token}") == 200


def test_a_token_of_the_users_holds_on_loopback_too():
    guard = make_guard("127.0.0.1", 8080, TOKEN)
    assert not guard.is_open
    assert status(guard) == 401


@pytest.mark.parametrize("path", ["/stats.json", "/stream", "/metrics", "/nothing", "/../etc/passwd"])
def test_on_the_network_nothing_of_the_run_is_seen_without_the_token(network, path):
    assert status(network, path=path) == 401
    assert status(network, path=path, authorization="Bearer wrong") == 401
    assert status(network, path=path, authorization=TOKEN) == 401
    assert status(network, path=path, authorization=f"Basic {TOKEN}") == 401
    assert status(network, path=path, cookie=f"crotalus_9999={TOKEN}") == 401
    assert status(network, path=path, authorization=f"Bearer {TOKEN}") == 200
    assert status(network, path=path, cookie=f"crotalus_8080={TOKEN}") == 200


@pytest.mark.parametrize("path", ["/", "/app.js", "/healthz", "/readyz"])
def test_the_bare_page_and_health_are_for_everybody(network, path):
    assert status(network, path=path) == 200
    assert status(network, "POST", path) == 401


def test_a_token_is_made_where_none_is_given():
    one, other = make_guard("0.0.0.0", 80, None), make_guard("0.0.0.0", 80, None)
    assert not one.is_open
    assert len(one.token) >= 32
    assert one.token != other.token


@pytest.mark.parametrize("token", ["short", "", "with a blank in the middle", "semi;colon;semi;colon", "grün" * 8])
def test_a_token_that_is_weak_or_breaks_a_header_is_refused(token):
    with pytest.raises(InputError, match=r"preview token: .*; give at least 16") as error:
        make_guard("0.0.0.0", 80, token)
    assert token not in str(error.value) or not token


def test_tokens_are_compared_in_constant_time(network, monkeypatch):
    compared = []
    monkeypatch.setattr(secrets, "compare_digest", lambda one, other: compared.append((one, other)) or one == other)
    assert status(network, authorization="Bearer wrong") == 401
    assert status(network, authorization=f"Bearer {TOKEN}") == 200
    assert compared == [(b"wrong", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


def test_a_token_with_letters_beyond_ascii_is_only_wrong(network):
    assert status(network, authorization="Bearer \u00fc\u20ac") == 401


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "", "127.0.0.1.evil.example", "192.168.1.5:8080", "[::2]:8080", "a:b:c", "[", "\x00"]
)
def test_a_host_that_is_not_ours_is_refused_on_loopback(local, host):
    assert status(local, host=host) == 403
    assert status(local, path="/healthz", host=host) == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.0.0.2", "localhost:9000"]
)
def test_loopback_has_these_names(local, host):
    assert status(local, host=host) == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.5:8080", 200),
        ("cam.example", 200),
        ("localhost:8080", 200),
        ("evil.example", 403),
        ("[fe80::1]", 200),
    ],
)
def test_on_the_network_addresses_and_the_given_names_are_ours(network, host, expected):
    assert status(network, path="/healthz", host=host) == expected


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9090", "http://localhost:8080", ""]
)
def test_a_forged_origin_is_refused_whatever_the_token(local, origin):
    good = {"authorization": f"Bearer {local.token}"}
    assert status(local, "POST", "/controls", origin=origin, **good) == 403
    assert status(local, origin=origin, **good) == 403


def test_our_own_origin_is_let_in(local):
    good = {"authorization": f"Bearer {local.token}"}
    assert status(local, "POST", "/controls", origin="http://127.0.0.1:8080", **good) == 200
    assert status(local, "POST", "/controls", origin="https://127.0.0.1:8080", **good) == 200  # behind a proxy with TLS


def test_another_site_may_link_to_the_page_but_not_embed_it(local):
    cross = {"sec_fetch_site": "cross-site"}
    assert status(local, path="/", sec_fetch_mode="navigate", sec_fetch_dest="document", **cross) == 200
    assert status(local, path="/", sec_fetch_mode="navigate", sec_fetch_dest="iframe", **cross) == 403
    assert status(local, path="/stream", sec_fetch_mode="no-cors", sec_fetch_dest="image", **cross) == 403
    assert status(local, path="/stream", sec_fetch_site="same-site") == 403  # another port of this host
    assert status(local, "POST", "/session", sec_fetch_mode="navigate", sec_fetch_dest="document", **cross) == 403
    assert status(local, sec_fetch_site="same-origin") == 200


def test_a_body_too_large_is_refused_by_its_length(local):
    good = {"authorization": f"Bearer {local.token}"}
    assert status(local, "POST", "/controls", content_length=str(MAX_BODY), **good) == 200
    assert status(local, "POST", "/controls", content_length=str(MAX_BODY + 1), **good) == 413
    assert status(local, "POST", "/controls", content_length="many", **good) == 400
    assert status(local, content_length="many", **good) == 400


def test_the_cookie_goes_to_this_port_and_to_no_other_site(network):
    assert network.set_cookie() == f"crotalus_8080={TOKEN}; Path=/; HttpOnly; SameSite=Strict"


def test_answers_allow_nothing_from_elsewhere():
    assert HEADERS["content-security-policy"].startswith("default-src 'self'")
    assert HEADERS["x-content-type-options"] == "nosniff"
    assert HEADERS["cache-control"] == "no-store"
    assert not [name for name in HEADERS if name.startswith("access-control")]
