"""
The service's own process, middleware and all, whose recommendations are ready bytes: what HTTP alone costs.

    python -m benchmarks.ready BODY --bundle DIR --port 0       (BODY: a file; the rest as `python -m service`)
"""

import asyncio
import logging
import sys
from pathlib import Path

from fastapi import Response
from fastapi.routing import APIRoute

from service import settings
from service.__main__ import Server, configure, serve
from service.app import create_app

PATH = "/v1/users/{user_id:path}/recommendations"


def main() -> None:
    """Serves until it is told to stop."""
    body = Path(sys.argv[1]).read_bytes()

    async def ready() -> Response:
        return Response(body, media_type="application/json")

    chosen, _ = settings.parse(sys.argv[2:])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    app = create_app(chosen)
    app.router.routes.insert(0, APIRoute(PATH, ready, response_class=Response))
    config = configure(app, chosen)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve(app, Server(config, app.state.live.retire, 0.0)))


if __name__ == "__main__":
    main()
