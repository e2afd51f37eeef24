"""The client: it connects to addresses that were checked and to no others, at every hop, within its limits."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_port
from tests.support.receiver import Receiver, Reply, receiving
from windlass.contexts.outbound.api import (
    Answer,
    BadHeader,
    Call,
    HostUnknown,
    Narrower,
    Outbound,
    OutboundError,
    OutboundTimeout,
    Policy,
    Refused,
    ResponseTooLarge,
    TooManyRedirects,
)

OPEN = Policy(ports=("*",), block_private=False)
GUARDED = Policy(ports=("*",))


class Names:
    """A resolver whose answers are said; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise OSError("no such host")
        return answer


@asynccontextmanager
async def client(policy: Policy = OPEN, **more: Any) -> AsyncIterator[Outbound]:
    outbound = Outbound(policy, **more)
    try:
        yield outbound
    finally:
        await outbound.close()


async def ask(url: str, policy: Policy = OPEN, *, resolver: Any = None, tls: Any = None, **more: Any) -> Answer:
    async with client(policy, resolver=resolver, tls=tls) as outbound:
        return await outbound.request(Call(more.pop("method", "GET"), url, more.pop("headers", {}), **more))


async def test_a_request_is_sent_as_it_is_said(receiver: Receiver) -> None:
    receiver.usual = Reply(201, {"X-Told": "yes"}, b"hello")

    answer = await ask(
        f"{receiver.url}/a?b=c%20d", method="POST", headers={"X-Mine": "1", "content-type": "text/x"}, body=b"body"
    )

    assert (answer.status, answer.ok, answer.body, answer.headers["x-told"]) == (201, True, b"hello", "yes")
    [got] = receiver.received
    assert (got.method, got.path, got.body) == ("POST", "/a?b=c%20d", b"body")
    assert got.headers == {
        "host": f"127.0.0.1:{receiver.port}", "accept-encoding": "identity", "accept": "*/*", "user-agent": "windlass",
        "content-length": "4", "x-mine": "1", "content-type": "text/x",
    }  # fmt: skip


async def test_an_address_of_this_machine_is_refused(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"):
        with pytest.raises(Refused, match="private"):
            await ask(f"http://{host}:{receiver.port}/", GUARDED)
    assert receiver.received == []


async def test_a_name_that_leads_inside_is_refused(receiver: Receiver) -> None:
    for addresses in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1%lo"]):
        with pytest.raises(Refused) as refused:
            await ask(f"http://inside.test:{receiver.port}/", GUARDED, resolver=Names(addresses))
        assert refused.value.reason == "private_address"
    assert receiver.received == []


async def test_a_name_that_changes_its_mind_is_connected_to_as_it_was_checked(receiver: Receiver) -> None:
    """Rebinding: whoever answers for the name says a public address first and this machine afterwards."""
    names = Names(["192.88.99.1"], ["127.0.0.1"])

    with pytest.raises(OutboundError):
        await ask(f"http://rebinding.test:{receiver.port}/", GUARDED, resolver=names, seconds=0.3)

    assert names.asked == ["rebinding.test"]
    assert receiver.received == []


async def test_a_name_is_resolved_once_for_a_connection(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"], ["8.8.8.8"])

    answer = await ask(f"http://name.test:{receiver.port}/", resolver=names)

    assert answer.ok
    assert names.asked == ["name.test"]
    assert receiver.received[0].headers["host"] == f"name.test:{receiver.port}"


async def test_each_new_connection_is_checked_anew(receiver: Receiver) -> None:
    receiver.usual = Reply(headers={"Connection": "close"})
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    async with client(OPEN, resolver=names) as outbound:
        for _ in range(2):
            await outbound.request(Call("GET", f"http://name.test:{receiver.port}/", {}))

    assert names.asked == ["name.test", "name.test"]


async def test_an_unknown_host_is_no_refusal(receiver: Receiver) -> None:
    with pytest.raises(HostUnknown) as unknown:
        await ask("http://nowhere.test/", GUARDED, resolver=Names([]))
    assert unknown.value.reason == "unresolved"


async def test_a_name_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.contexts.outbound.network.RESOLVE_SECONDS", 0.05)

    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(HostUnknown, match="not resolved"):
        await ask("http://slow.test/", GUARDED, resolver=silent)


async def test_the_next_address_is_tried_when_nobody_is_at_the_first(receiver: Receiver) -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])

    assert (await ask(f"http://two.test:{receiver.port}/", resolver=names)).ok


async def test_the_machines_own_resolver_is_asked(receiver: Receiver) -> None:
    assert (await ask(f"http://localhost:{receiver.port}/")).ok
    with pytest.raises(Refused, match="private"):
        await ask(f"http://localhost:{receiver.port}/", GUARDED)


async def test_ipv6_is_spoken() -> None:
    with receiving(socket.AF_INET6) as receiver:
        assert (await ask(f"{receiver.url}/")).ok
        assert receiver.received[0].headers["host"] == f"[::1]:{receiver.port}"


async def test_a_redirect_is_an_answer_unless_it_is_to_be_followed(receiver: Receiver) -> None:
    receiver.replies = [Reply(302, {"Location": "/there"})]

    answer = await ask(f"{receiver.url}/here")

    assert (answer.status, len(receiver.received)) == (302, 1)


@pytest.mark.parametrize("status,method,kept", [(301, "GET", False), (302, "GET", False), (303, "GET", False),
                                                (307, "POST", True), (308, "POST", True)])  # fmt: skip
async def test_redirects_are_followed(receiver: Receiver, status: int, method: str, kept: bool) -> None:
    receiver.replies = [Reply(status, {"Location": "/there?x=1"})]

    answer = await ask(
        f"{receiver.url}/here", method="POST", headers={"Content-Type": "a/b", "Authorization": "me"}, body=b"b",
        redirects=5,
    )  # fmt: skip

    second = receiver.received[1]
    assert (answer.status, answer.url) == (200, f"{receiver.url}/there?x=1")
    assert (second.method, second.path, second.body) == (method, "/there?x=1", b"b" if kept else b"")
    assert ("content-type" in second.headers) is kept
    assert second.headers["authorization"] == "me"


async def test_credentials_stay_behind_when_a_redirect_leads_elsewhere(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.replies = [Reply(307, {"Location": f"{other.url}/"})]
        secret = {"Authorization": "a", "X-API-Key": "b", "Cookie": "c", "X-Sign": "d", "X-Plain": "e"}

        await ask(receiver.url, method="POST", headers=secret, redirects=1, private_headers=frozenset({"x-sign"}))

        assert receiver.received[0].headers["authorization"] == "a"
        [got] = other.received
        assert not {"authorization", "x-api-key", "cookie", "x-sign"} & got.headers.keys()
        assert got.headers["x-plain"] == "e"


async def test_what_says_something_of_the_body_goes_with_it(receiver: Receiver) -> None:
    receiver.replies = [Reply(303, {"Location": "/there"})]

    await ask(
        receiver.url, method="POST", headers={"X-Signature": "of the body", "X-Plain": "e"}, body=b"body", redirects=1,
        body_headers=frozenset({"x-signature"}),
    )  # fmt: skip

    first, second = receiver.received
    assert (first.headers["x-signature"], second.method) == ("of the body", "GET")
    assert "x-signature" not in second.headers
    assert second.headers["x-plain"] == "e"


async def test_no_name_leads_to_a_denied_address(receiver: Receiver) -> None:
    async def names(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "::ffff:10.0.0.9"] if host == "two.test" else ["127.0.0.1"]

    policy = Policy(ports=("*",), block_private=False, tenant_lists={"WORKFLOWS_EGRESS_DENYLIST_ACME": ("10.0.0.9",)})
    narrower = Narrower(deny=("::ffff:127.0.0.1",))
    async with client(policy, resolver=names) as outbound:
        for tenant, host, more, refused in (
            ("default", "two.test", None, False), ("acme", "two.test", None, True), ("acme", "one.test", None, False),
            ("default", "one.test", narrower, True), ("default", "one.test", None, False),
        ):  # fmt: skip
            call = Call("GET", f"http://{host}:{receiver.port}/", {}, tenant=tenant, narrower=more)
            if not refused:
                assert (await outbound.request(call)).ok
                continue
            with pytest.raises(Refused, match="which is on a deny list"):
                await outbound.request(call)
    assert len(receiver.received) == 3


@pytest.mark.parametrize(
    "location,why",
    [
        ("http://inside.test/", "private_address"),
        ("http://127.0.0.1/", "private_address"),
        ("http://denied.test/", "denylisted"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("gopher://x.test/", "scheme_not_allowed"),
    ],
)
async def test_every_hop_is_checked(receiver: Receiver, location: str, why: str) -> None:
    public = "93.184.215.14"
    policy = Policy(ports=("*",), deny=("denied.test",))

    async def names(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "inside.test" else [public]

    receiver.usual = Reply(302, {"Location": location})
    async with client(policy, resolver=names) as outbound:
        _lead(outbound, public, receiver.port)
        with pytest.raises(Refused) as refused:
            await outbound.request(Call("GET", "http://start.test/", {}, redirects=3))

    assert refused.value.reason == why
    assert len(receiver.received) == 1


def _lead(outbound: Outbound, public: str, port: int) -> None:
    """Let what is connected to a public address, once it was checked, arrive at a server of this machine."""
    network: Any = outbound._pool(block_private=False)._network_backend
    plain: Callable[..., Any] = network._plain.connect_tcp

    async def connect_tcp(host: str, _port: int, *rest: Any) -> Any:
        assert host == public
        return await plain("127.0.0.1", port, *rest)

    network._plain.connect_tcp = connect_tcp


async def test_redirects_come_to_an_end(receiver: Receiver) -> None:
    receiver.usual = Reply(302, {"Location": "/again"})

    with pytest.raises(TooManyRedirects):
        await ask(receiver.url, redirects=3)
    assert len(receiver.received) == 4


async def test_rules_of_one_request_hold_for_its_connection(receiver: Receiver) -> None:
    narrower = Narrower(block_private=True)
    names = Names(["127.0.0.1"])
    async with client(OPEN, resolver=names) as outbound:
        url = f"http://name.test:{receiver.port}/"
        assert (await outbound.request(Call("GET", url, {}))).ok
        with pytest.raises(Refused, match="private"):
            await outbound.request(Call("GET", url, {}, narrower=narrower))


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_is_read_up_to_its_limit(receiver: Receiver, chunked: bool) -> None:
    body = b"x" * 100_000
    headers = {"Transfer-Encoding": "chunked"} if chunked else {}
    receiver.usual = Reply(headers=headers, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)

    assert len((await ask(receiver.url, most_bytes=100_000)).body) == 100_000
    assert len((await ask(receiver.url, most_bytes=99_999, cut=True)).body) == 99_999
    with pytest.raises(ResponseTooLarge):
        await ask(receiver.url, most_bytes=99_999)


async def test_a_compressed_answer_is_not_unpacked(receiver: Receiver) -> None:
    receiver.usual = Reply(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b-not-really")

    assert (await ask(receiver.url)).body == b"\x1f\x8b-not-really"


async def test_who_does_not_answer_is_given_up(receiver: Receiver) -> None:
    receiver.usual = Reply(hang=True)

    with pytest.raises(OutboundTimeout):
        await ask(receiver.url, seconds=0.2)


async def test_a_broken_connection_and_a_closed_port_are_named(receiver: Receiver) -> None:
    receiver.usual = Reply(cut=True)

    with pytest.raises(OutboundError) as broken:
        await ask(receiver.url)
    with pytest.raises(OutboundError) as closed:
        await ask(f"http://127.0.0.1:{free_port()}/")
    assert broken.value.reason == closed.value.reason == "network_error"
    assert "cannot be connected" in closed.value.message


@pytest.mark.parametrize(
    "name,value", [("X Y", "1"), ("Host", "x"), ("Content-Length", "5"), ("X-A", "1\r\nX-B: 2"), ("X-A", "ü"), ("", "")]
)
async def test_headers_that_cannot_be_sent_are_refused(receiver: Receiver, name: str, value: str) -> None:
    with pytest.raises(BadHeader):
        await ask(receiver.url, headers={name: value})
    assert receiver.received == []


async def test_the_environment_says_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    assert (await ask(receiver.url)).ok


async def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.usual = Reply(headers={"Set-Cookie": "a=b"})
    async with client() as outbound:
        for _ in range(2):
            await outbound.request(Call("GET", receiver.url, {}))

    assert "cookie" not in receiver.received[1].headers


async def test_certificates_are_those_of_the_host_that_was_named(tmp_path: Path) -> None:
    server, trusting = _certificate(tmp_path, "named.test")
    names = Names(["127.0.0.1"])
    with receiving(tls=server) as receiver:
        answer = await ask(f"https://named.test:{receiver.port}/", resolver=names, tls=trusting)
        assert answer.ok
        with pytest.raises(OutboundError, match="certificate"):
            await ask(f"https://other.test:{receiver.port}/", resolver=names, tls=trusting)
        with pytest.raises(OutboundError, match="certificate"):
            await ask(f"https://named.test:{receiver.port}/", resolver=names)


def _certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's side with a certificate for a host, and a client's that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "server.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=made.public_bytes(encoding).decode())
