"""The one way to Redis: an answer within a time budget, or StateUnavailable."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import AuthenticationError, ClusterError, RedisClusterException, RedisError, ResponseError

from causalrec.errors import ConfigError, StateUnavailable
from service.state import promises
from service.state.address import Address, make_client, parse, socket_address
from service.state.breaker import Breaker
from service.state.child import Durability
from service.state.embedded import Embedded
from service.state.keys import Keys

log = logging.getLogger(__name__)

T = TypeVar("T")

BUDGET = 0.020
AT_ONCE = 16  # calls; a server answers them one after the other anyway
PATIENCE = 1.0  # of a probe
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)


class Connection:
    """
    Redis, for one event loop: embedded or named, a single server, a Sentinel's master or a cluster.

    After a few calls in a row that were not answered the others fail at once, until a probe in the background is.
    """

    def __init__(
        self, address: Address, embedded: Embedded | None, durability: Durability, budget: float, keys: Keys
    ) -> None:
        """Use `open`."""
        self.keys = keys
        self._embedded = embedded
        self._durability: Durability = durability
        self._budget = budget
        self._client = make_client(address, connections=2 * AT_ONCE)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._checked = embedded is not None  # its settings are ours
        self._breaker = Breaker(self._probe, eager=address.kind == "cluster")

    @classmethod
    async def open(
        cls,
        url: str | None,
        *,
        data_dir: Path,
        durability: Durability,
        budget: float = BUDGET,
        keys: Keys,
    ) -> "Connection":
        """
        Connects. A named server may be away: then calls fail until it comes.

        Args:
            url: one of the forms in `address.FORMS`; None runs the embedded server in `data_dir`.
            durability: strict: what was accepted survives a crash of the server; everysec: but for about the last
                second. A named server is asked whether it keeps that.
            budget: seconds that a call may take which does not say.
        Raises: ConfigError (the URL, the password, a server that does not keep what `durability` says, a folder that
            cannot be written), InstallationError (no server program), StateUnavailable (the embedded server did not
            come up).
        """
        if url is None:
            embedded = Embedded(data_dir, durability)
            connection = cls(socket_address(await _started(embedded)), embedded, durability, budget, keys)
        else:
            connection = cls(parse(url), None, durability, budget, keys)
        try:
            await connection._greet()
        except BaseException:
            await connection.close()
            raise
        return connection

    async def run(self, work: Callable[[Any], Awaitable[T]], *, budget: float | None = None) -> T:
        """
        What `work` returns, given the redis.asyncio client (answers are bytes).

        Args:
            budget: seconds for all of it, waiting for a place included; None is the connection's own.
        Raises: StateUnavailable when Redis did not answer in time, refused, or is known not to answer: nothing can be
            said about whether it did what it was asked.
        """
        if not self._breaker.closed:
            raise StateUnavailable("Redis has not answered lately and is not asked until it answers a probe")
        seconds = self._budget if budget is None else budget
        try:
            async with asyncio.timeout(seconds), self._places:
                result = await work(self._client.redis)
        except FAILURES as error:
            raise self._failed(error, seconds) from error
        self._breaker.succeeded()
        return result

    @property
    def available(self) -> bool:
        """Redis is being asked."""
        return self._breaker.closed

    async def until_available(self) -> None:
        """Returns once Redis is being asked."""
        await self._breaker.until_closed()

    @property
    def restarts(self) -> int:
        """How often the embedded server died and this process started it again."""
        return self._embedded.restarts if self._embedded else 0

    async def close(self) -> None:
        """Ends the probing, the connections, and the embedded server if it is ours."""
        await self._breaker.close()
        await self._client.close()
        if self._embedded:
            await asyncio.to_thread(self._embedded.close)

    def _failed(self, error: Exception, seconds: float) -> StateUnavailable:
        """The error for the caller; the breaker is told unless Redis did answer, only not what was wanted."""
        if isinstance(error, ResponseError) and not isinstance(error, ClusterError):
            return StateUnavailable(f"Redis refused: {error}")
        self._breaker.failed()
        if isinstance(error, TimeoutError):
            return StateUnavailable(f"Redis did not answer in {seconds * 1000:.0f} ms")
        return StateUnavailable(f"Redis cannot be asked: {error}")

    async def _greet(self) -> None:
        """The first probe, whose findings stop the start."""
        try:
            problems = await self._ask()
        except AuthenticationError as error:
            raise ConfigError(f"Redis refuses the user or the password of the URL ({error})") from error
        except FAILURES as error:
            log.warning("Redis cannot be reached yet (%s)", error or "no answer in time")
            self._breaker.open()
            return
        if problems:
            raise ConfigError(
                f"Redis does not keep what durability=strict promises: {', '.join(problems)}; change that there, or "
                f"choose durability=everysec"
            )

    async def _probe(self) -> None:
        for problem in await self._ask():
            log.error("Redis does not keep what durability=strict promises: %s", problem)

    async def _ask(self) -> list[str]:
        """Something small; the first answered time also whether the server keeps our promises: those it does not."""
        redis = self._client.redis
        async with asyncio.timeout(PATIENCE):
            await (_ask_cluster(redis) if isinstance(redis, RedisCluster) else _ping(redis))
            problems = [] if self._checked else await promises.broken(redis, self._durability)
        self._checked = True
        return problems


async def _started(embedded: Embedded) -> Path:
    try:
        return await asyncio.to_thread(embedded.start)
    except asyncio.CancelledError:
        embedded.close()
        raise


async def _ask_cluster(redis: RedisCluster) -> None:
    """Asks who serves what now, and whether the cluster is well: one node that says so will do, others may hang."""
    await redis.nodes_manager.initialize()

    async def state(node: ClusterNode) -> object:
        async with asyncio.timeout(PATIENCE / 4):
            return (await node.execute_command("CLUSTER INFO"))["cluster_state"]

    states = await asyncio.gather(*map(state, redis.get_primaries()), return_exceptions=True)
    if "ok" not in states:
        raise ClusterError(f"no node says that the cluster is well: {states}")
    await redis.initialize()


async def _ping(redis: Any) -> None:
    try:
        await redis.ping()
    except ResponseError as error:  # an answer too, but of a replica that lost its master
        if isinstance(error, ClusterError):
            raise
