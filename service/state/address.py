"""Where Redis is, as a URL says it, and the client for it."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from causalrec.errors import ConfigError

Kind = Literal["single", "sentinel", "cluster"]

FORMS = (
    "redis://[user:password@]host:port/db, rediss://… for TLS, unix:///path/of.sock, "
    "redis+sentinel://[user:password@]host:port,host:port/service/db, redis+cluster://[user:password@]host:port,host:port"
)
KINDS: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
OPTIONS = TLS_OPTIONS | {"db", "sentinel_password"}
HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?")
PORT = {"single": 6379, "sentinel": 26379, "cluster": 6379}
CONNECT_SECONDS = 1.0
SENTINEL_SECONDS = 0.3  # one that does not answer must leave time to ask the next


class Address(NamedTuple):
    """
    A URL, taken apart.

    hosts: of the server, the sentinels or some of the cluster's nodes; empty for a unix socket, whose `path` it is.
    service: the master's name among the sentinels. shown: the URL without its secrets.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    path: str
    service: str
    db: int
    user: str | None
    password: str | None
    options: dict[str, str]
    tls: bool
    shown: str


class Client(NamedTuple):
    """A redis.asyncio client (`redis`) and how it is closed."""

    redis: Any
    close: Callable[[], Awaitable[None]]


def parse(url: str) -> Address:
    """What `url` says. Raises: ConfigError naming the URL without secrets, what is wrong, and which forms there are."""
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://{re.sub(r'[?].*', '', rest).rpartition('@')[2]}" if rest else "…"
    try:
        if scheme == "unix":
            return _parse_unix(url, shown)
        if scheme not in KINDS:
            raise ValueError(f"its scheme is none of {', '.join((*KINDS, 'unix'))}")  # noqa: TRY301
        return _parse_hosts(url, shown, KINDS[scheme], tls=scheme.startswith("rediss"))
    except ValueError as error:
        raise ConfigError(f"redis URL {shown}: {error}; there are {FORMS}") from None


def socket_address(socket: Path) -> Address:
    """A server on a unix socket."""
    return Address("single", (), str(socket), "", 0, None, None, {}, tls=False, shown=f"unix://{socket}")


def _parse_unix(url: str, shown: str) -> Address:
    parts = urlsplit(url)
    user, password = _login(parts.netloc)
    options = _options(parts.query, frozenset({"db"}))
    if not parts.path:
        raise ValueError("it names no socket")
    path, db = unquote(parts.path), _database(options.pop("db", ""))
    return Address("single", (), path, "", db, user, password, options, tls=False, shown=shown)


def _parse_hosts(url: str, shown: str, kind: Kind, *, tls: bool) -> Address:
    parts = urlsplit(url)
    user, password = _login(parts.netloc)
    allowed = {"single": {"db"}, "sentinel": {"db", "sentinel_password"}, "cluster": set[str]()}[kind]
    options = _options(parts.query, allowed | (TLS_OPTIONS if tls else frozenset()))
    hosts = tuple(_host(text, PORT[kind]) for text in parts.netloc.rpartition("@")[2].split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("it names several hosts: redis+sentinel:// or redis+cluster:// does")
    path = [unquote(part) for part in parts.path.strip("/").split("/")] if parts.path.strip("/") else []
    service = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not service:
        raise ValueError("it names no service after the hosts")
    db = _database(path.pop(0) if path else options.pop("db", ""))
    if path:
        raise ValueError(f"/{path[0]} is too much")
    if kind == "cluster" and db:
        raise ValueError("a cluster has no databases but 0")
    return Address(kind, hosts, "", service, db, user, password, options, tls, shown)


def _login(netloc: str) -> tuple[str | None, str | None]:
    user, _, password = netloc.rpartition("@")[0].partition(":")
    return unquote(user) or None, unquote(password) or None


def _options(query: str, allowed: "frozenset[str] | set[str]") -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in allowed:
            raise ValueError(f"option {name} is none of {', '.join(sorted(allowed)) or 'none at all'}")
    return options


def _host(text: str, port: int) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    if not found:
        raise ValueError(f"host {text!r} is not host:port")
    number = int(found["port"] or port)
    if not 0 < number < 1 << 16:
        raise ValueError(f"port {number} is not in 1..65535")
    return found["six"] or unquote(found["name"]), number


def _database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError(f"database {text!r} is not a number")
    return int(text or 0)


def make_client(address: Address, connections: int) -> Client:
    """
    The client, not yet connected: at most `connections` to a server, no repeats (budgets are ours), RESP2 for 6.2.
    """
    options = {name: value for name, value in address.options.items() if name in TLS_OPTIONS}
    common: dict[str, Any] = {
        "username": address.user,
        "password": address.password,
        "protocol": 2,
        "driver_info": None,  # CLIENT SETINFO is of 7.2
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "max_connections": connections,
        **options,
    }
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        cluster = RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 0), ssl=address.tls, **common)
        return Client(cluster, cluster.aclose)
    if address.kind == "sentinel":
        return _sentinel_client(address, common)
    place: dict[str, Any] = {"path": address.path, "connection_class": UnixDomainSocketConnection}
    if address.hosts:
        (host, port), kind = address.hosts[0], SSLConnection if address.tls else Connection
        place = {"host": host, "port": port, "connection_class": kind}
    redis = Redis.from_pool(ConnectionPool(db=address.db, **place, **common))
    return Client(redis, redis.aclose)


def _sentinel_client(address: Address, common: dict[str, Any]) -> Client:
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={
            "protocol": 2,
            "driver_info": None,
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "password": address.options.get("sentinel_password"),
            **({"ssl": True} if address.tls else {}),
        },
    )
    redis = sentinel.master_for(address.service, db=address.db, ssl=address.tls, **common)

    async def close() -> None:
        await redis.aclose()
        await sentinel.aclose()

    return Client(redis, close)
