"""The egress policy: its order, its lists, and every way to write an address that leads inside."""

import pytest

from windlass.contexts.outbound.api import Narrower, Policy, Purpose, Refused, is_private, normal_host
from windlass.kernel.errors import ConfigError


def reason(
    policy: Policy, url: str, tenant: str = "default", purpose: Purpose = Purpose.GENERAL, **more: object
) -> str:
    """Return why a URL is refused, or ``ok``."""
    try:
        policy.check(url, tenant, purpose, **more)  # type: ignore[arg-type]
    except Refused as refused:
        return refused.reason
    return "ok"


@pytest.mark.parametrize(
    "text,host",
    [
        ("EXAMPLE.com.", "example.com"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:ffff:7f00:1", "::ffff:7f00:1"),
        ("fe80::1%eth0", "fe80::1"),
        ("1.2.3.4.5", None),
        ("256.1.1.1", None),
        ("exa mple.com", None),
        ("-x.com", None),
        ("a..b", None),
        ("", None),
        (":::", None),
        ("a/b", None),
        ("x" * 64 + ".com", None),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str | None) -> None:
    assert normal_host(text) == host


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/",
        "http://[ff02::1]/",
        "http://10.1.2.3/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://172.31.255.255/",
        "http://192.168.0.1/",
        "http://192.0.0.1/",
        "http://192.0.2.1/",
        "http://198.19.0.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
    ],
)
def test_no_spelling_of_a_private_address_passes(url: str) -> None:
    assert reason(Policy(), url) == "private_address"


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize("address", ["fe80::1%3", "nonsense", ""])
def test_what_is_no_public_address_counts_as_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "url,why",
    [
        ("ftp://example.com/", "scheme_not_allowed"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("example.com/x", "scheme_not_allowed"),
        ("http:///x", "no_host"),
        ("http://exa mple.com/", "bad_url"),
        ("http://example.com/\n", "bad_url"),
        ("http://example.com\\@127.0.0.1/", "bad_url"),
        ("http://me:secret@example.com/", "credentials_in_url"),
        ("http://example.com@127.0.0.1/", "credentials_in_url"),
        ("http://1.2.3.4.5/", "bad_host"),
        ("http://example.com:8080/", "port_not_allowed"),
        ("http://example.com:0/", "bad_url"),
        (f"http://example.com/{'x' * 9000}", "bad_url"),
    ],
)
def test_what_is_no_address_of_the_web_is_refused(url: str, why: str) -> None:
    assert reason(Policy(), url) == why


@pytest.mark.parametrize("ports", [("8080",), ("80", "8080"), ("*",), ("ANY",), ("all",)])
def test_ports_are_allowed_by_number_or_all(ports: tuple[str, ...]) -> None:
    assert reason(Policy(ports=ports), "http://example.com:8080/") == "ok"


def test_the_order_of_the_checks() -> None:
    policy = Policy(strict=True, deny=("bad.test", "10.0.0.1"), allow=("good.test",))

    assert reason(policy, "ftp://bad.test:99/") == "scheme_not_allowed"
    assert reason(policy, "http://bad.test:99/") == "port_not_allowed"
    assert reason(policy, "http://bad.test/") == "denylisted"
    assert reason(policy, "http://10.0.0.1/") == "denylisted"
    assert reason(policy, "http://10.0.0.2/") == "not_allowlisted"
    assert reason(policy, "http://good.test/") == "ok"


@pytest.mark.parametrize("entry", ["bad.test", "*.bad.test", "BAD.test.", " *.Bad.Test "])
def test_an_entry_stands_for_a_host_and_what_is_below_it(entry: str) -> None:
    for policy, inside, outside in (
        (Policy(deny=(entry,)), "denylisted", "ok"),
        (Policy(allow=(entry,)), "ok", "not_allowlisted"),
    ):
        assert reason(policy, "http://bad.test/") == inside
        assert reason(policy, "http://a.b.bad.test/") == inside
        assert reason(policy, "http://notbad.test/") == outside
        assert reason(policy, "http://bad.test.example/") == outside


def test_an_address_in_a_list_is_matched_in_every_spelling() -> None:
    policy = Policy(deny=("8.8.8.8",))

    assert reason(policy, "http://134744072/") == "denylisted"
    assert reason(policy, "http://0x08080808/") == "denylisted"


def test_an_address_in_a_list_is_matched_when_it_is_mapped_into_ipv6() -> None:
    # Where private addresses may be spoken to, nothing but the list stands in the way.
    denying = Policy(deny=("169.254.169.254",), block_private=False)
    mapped = Policy(deny=("::ffff:169.254.169.254",), block_private=False)

    for policy in (denying, mapped):
        assert reason(policy, "http://169.254.169.254/") == "denylisted"
        assert reason(policy, "http://[::ffff:169.254.169.254]/") == "denylisted"
        assert reason(policy, "http://[::ffff:a9fe:a9fe]/") == "denylisted"
        assert reason(policy, "http://[::ffff:a9fe:a9ff]/") == "ok"
    assert reason(Policy(allow=("8.8.8.8",)), "http://[::ffff:8.8.8.8]/") == "private_address"


def test_strict_needs_a_list() -> None:
    assert reason(Policy(strict=True), "http://example.com/") == "not_allowlisted"
    assert reason(Policy(strict=False), "http://example.com/") == "ok"
    assert reason(Policy(strict=True, allow=("*",)), "http://example.com/") == "ok"


def test_tenants_have_lists_of_their_own() -> None:
    policy = Policy(
        allow=("all.test",),
        tenant_lists={
            "WORKFLOWS_EGRESS_ALLOWLIST_BIG_CORP": ("own.test",),
            "WORKFLOWS_EGRESS_DENYLIST_SMALL": ("x.test",),
        },
    )

    assert reason(policy, "http://own.test/", "big-corp") == "ok"
    assert reason(policy, "http://all.test/", "big-corp") == "ok"
    assert reason(policy, "http://own.test/", "small") == "not_allowlisted"
    assert reason(Policy(tenant_lists=policy.tenant_lists), "http://x.test/", "small") == "denylisted"
    assert reason(Policy(tenant_lists=policy.tenant_lists), "http://x.test/", "other") == "ok"


def test_webhooks_keep_to_their_own_lists_whatever_the_general_ones_allow() -> None:
    policy = Policy(
        allow=("general.test", "hook.test", "evil.bad.test"),
        webhook_allow=("hook.test", "bad.test"),
        webhook_deny=("*.bad.test",),
        tenant_lists={
            "WORKFLOWS_WEBHOOK_ALLOWLIST_ACME": ("acme.test",),
            "WORKFLOWS_WEBHOOK_DENYLIST_ACME": ("no.acme.test",),
        },
    )
    webhook = Purpose.WEBHOOK

    assert reason(policy, "http://hook.test/", purpose=webhook) == "ok"
    assert reason(policy, "http://general.test/", purpose=webhook) == "not_allowlisted"
    assert reason(policy, "http://evil.bad.test/", purpose=webhook) == "denylisted"
    assert reason(policy, "http://evil.bad.test/") == "ok"
    assert reason(policy, "http://acme.test/", "acme", webhook) == "ok"
    assert reason(policy, "http://hook.test/", "acme", webhook) == "not_allowlisted"
    assert reason(policy, "http://no.acme.test/", "acme", webhook) == "denylisted"
    assert reason(policy, "http://x.bad.test/", "acme", webhook) == "denylisted"


def test_webhooks_without_lists_keep_to_the_general_ones() -> None:
    policy = Policy(allow=("general.test",), deny=("no.general.test",))

    assert reason(policy, "http://general.test/", purpose=Purpose.WEBHOOK) == "ok"
    assert reason(policy, "http://no.general.test/", purpose=Purpose.WEBHOOK) == "denylisted"
    assert reason(policy, "http://other.test/", purpose=Purpose.WEBHOOK) == "not_allowlisted"


def test_rules_of_one_request_only_narrow() -> None:
    policy = Policy(allow=("good.test",), block_private=False)
    narrower = Narrower(allow=("a.good.test", "other.test"), deny=("x.a.good.test",), block_private=True)

    assert reason(policy, "http://a.good.test/", narrower=narrower) == "ok"
    assert reason(policy, "http://good.test/", narrower=narrower) == "not_allowlisted"
    assert reason(policy, "http://x.a.good.test/", narrower=narrower) == "denylisted"
    assert reason(policy, "http://other.test/", narrower=narrower) == "not_allowlisted"
    assert (
        reason(Policy(block_private=False), "http://127.0.0.1/", narrower=Narrower(block_private=True))
        == "private_address"
    )


def test_one_private_address_of_several_refuses_a_host() -> None:
    with pytest.raises(Refused, match="private"):
        Policy().check_addresses("x.test", ["8.8.8.8", "10.0.0.1"])
    Policy(block_private=False).check_addresses("x.test", ["10.0.0.1"])


@pytest.mark.parametrize("entry", ["http://x.test", "x.test/path", "x.test:80", "a b"])
def test_a_list_with_what_is_no_host_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ConfigError, match="no host"):
        Policy(deny=(entry,))
