"""Every form of URL, and what is said of those that are none."""

import asyncio
import re
from typing import Any

import pytest

from causalrec.errors import ConfigError
from service.state.address import Address, make_client, parse


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "rest"),
    [
        ("redis://cache", "single", (("cache", 6379),), {"db": 0, "tls": False}),
        ("redis://cache:7000/3", "single", (("cache", 7000),), {"db": 3}),
        ("redis://[::1]:7000?db=4", "single", (("::1", 7000),), {"db": 4}),
        ("redis://:p%40ss@cache", "single", (("cache", 6379),), {"user": None, "password": "p@ss"}),
        ("rediss://ann:s@cache", "single", (("cache", 6379),), {"tls": True, "user": "ann", "password": "s"}),
        ("unix:///run/redis.sock?db=2", "single", (), {"path": "/run/redis.sock", "db": 2}),
        ("unix://:s@/run/redis.sock", "single", (), {"path": "/run/redis.sock", "password": "s"}),
        ("redis+sentinel://a,b:7/shop/5", "sentinel", (("a", 26379), ("b", 7)), {"service": "shop", "db": 5}),
        ("redis+sentinel://:s@a/shop", "sentinel", (("a", 26379),), {"service": "shop", "db": 0, "password": "s"}),
        ("rediss+sentinel://a/shop?sentinel_password=x", "sentinel", (("a", 26379),), {"tls": True}),
        ("redis+cluster://a,b:7001", "cluster", (("a", 6379), ("b", 7001)), {"service": ""}),
        ("rediss+cluster://ann:s@a?ssl_cert_reqs=none", "cluster", (("a", 6379),), {"user": "ann", "tls": True}),
    ],
)
def test_a_url_is_taken_apart(url: str, kind: str, hosts: Any, rest: dict[str, object]) -> None:
    """And a client can be made of it, without a server."""
    address = parse(url)

    assert (address.kind, address.hosts) == (kind, hosts)
    assert {name: getattr(address, name) for name in rest} == rest
    asyncio.run(made(address))


async def made(address: Address) -> None:
    """A client is made and closed."""
    await make_client(address, 4).close()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("cache:6379", "its scheme is none of redis,"),
        ("http://cache", "its scheme is none of redis,"),
        ("", "its scheme is none of redis,"),
        ("redis://", "host '' is not host:port"),
        ("redis://cache:port", "host 'cache:port' is not host:port"),
        ("redis://cache:70000", "port 70000 is not in 1..65535"),
        ("redis://cache/shop", "database 'shop' is not a number"),
        ("redis://cache/0/1", "/1 is too much"),
        ("redis://a,b", "several hosts: redis+sentinel:// or redis+cluster:// does"),
        ("redis://cache?decode_responses=1", "option decode_responses is none of db"),
        ("redis://cache?ssl_certfile=x", "option ssl_certfile is none of db"),
        ("unix://", "it names no socket"),
        ("redis+sentinel://a,b", "no service after the hosts"),
        ("redis+cluster://a/1", "a cluster has no databases but 0"),
    ],
)
def test_anything_else_is_named_with_the_way_out(url: str, wrong: str) -> None:
    """What is wrong with it, and the forms there are."""
    with pytest.raises(ConfigError, match=rf"{re.escape(wrong)}.*redis\+sentinel://\[user:password@\]host:port"):
        parse(url)


@pytest.mark.parametrize("scheme", ["redis", "http", "redis+cluster"])
def test_secrets_are_not_shown(scheme: str) -> None:
    """Neither the login nor an option; the host is."""
    with pytest.raises(ConfigError, match="the-host") as caught:
        parse(f"{scheme}://ann:hidden@the-host:0/x?sentinel_password=hidden")

    assert "hidden" not in str(caught.value)
