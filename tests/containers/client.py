"""A caller of the service: the standard library is enough, so that nothing has to be installed to try the images."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """Status 0: nobody answered."""

    status: int
    body: Any


def ask(url: str, body: object = None, *, key: str | None = None) -> Answer:
    """GET, or POST where there is a body; what went wrong is an answer too."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers)  # noqa: S310 - the address is our own
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return Answer(answer.status, _parsed(answer.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code, _parsed(error.read()))
    except OSError as error:
        return Answer(0, str(error))


def recommendations(address: str, user: str, **parameters: object) -> Answer:
    """A user's list."""
    query = urllib.parse.urlencode({"k": 10} | parameters)
    return ask(f"{address}/v1/users/{user}/recommendations?{query}")


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
