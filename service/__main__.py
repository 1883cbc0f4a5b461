"""
`python -m service --bundle DIR`: one process, one bundle. `python -m service events export`: events told, as files.
`python -m service experiments analyse`: an experiment's report from those files. `python -m service keys`: API keys.

Exit code 2: it could not begin, and says why.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from causalrec.errors import CausalRecError
from service import analyse, export, key_command, logs, settings
from service.app import create_app
from service.protocol import refusing
from service.settings import Settings

COMMANDS = {"events": export.main, "experiments": analyse.main, "keys": key_command.main}


class Server(uvicorn.Server):
    """
    uvicorn, which by itself closes its socket the moment SIGTERM comes. Here the process first turns unready and goes
    on answering for `grace` seconds, until load balancers have noticed; then requests in flight finish. Ctrl-C, or a
    second signal, does without the grace.

    Args:
        retire: makes the service unready.
    """

    def __init__(self, config: uvicorn.Config, retire: Callable[[], None], grace: float) -> None:
        super().__init__(config)
        self._retire = retire
        self._grace = grace
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Begins to stop; uvicorn's own would raise the signal again in the end, and the exit code would not be 0."""
        self._retire()
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        elif sig == signal.SIGTERM and self._stop_at is None:
            self._stop_at = time.monotonic() + self._grace
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)


def configure(app: FastAPI, chosen: Settings) -> uvicorn.Config:
    """How uvicorn runs `app`."""
    return uvicorn.Config(
        app,
        host=chosen.host,
        port=chosen.port,
        http=refusing(app.state.refusal),
        lifespan="off",  # `serve` runs it, so that a bad bundle is an exception and not a log entry
        log_config=None,
        access_log=False,  # the middleware's has no user ids
        proxy_headers=False,  # nothing reads the caller's address
        timeout_keep_alive=chosen.keep_alive_seconds,
        server_header=False,
        timeout_graceful_shutdown=chosen.drain_seconds,
    )


async def serve(app: FastAPI, server: Server) -> None:
    """Serves until a signal. Raises: BundleError when the bundle must not be served."""
    async with app.router.lifespan_context(app):
        await server.serve()


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    if arguments and (command := COMMANDS.get(arguments[0])):
        return command(arguments[1:])
    try:
        chosen, only_print = settings.parse(arguments)
        if only_print:
            print(settings.as_toml(chosen), end="")
            return 0
        logs.configure(chosen.log_format, chosen.log_level)
        app = create_app(chosen)
        config = configure(app, chosen)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(serve(app, Server(config, app.state.live.retire, chosen.grace_seconds)))
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
