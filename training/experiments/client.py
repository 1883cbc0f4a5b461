"""The service over HTTP, as a shop and its experimenter use it. Standard library only; a connection per thread."""

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from causalrec.errors import ConfigError
from training.experiments.traffic import OUTSIDE, Answer, Event

Json = dict[str, Any]
MOST_EVENTS, MOST_REQUESTS = 1000, 64
"""What one request may hold."""
PATIENCE, PAUSE = 60.0, 0.1  # seconds for which one insists, and between attempts
BUSY: Final = 503


class Unanswered(ConfigError):
    """The service refused. status: HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """
    A running service. Raises, wherever it is used: ConfigError when there is none at `url`, or it goes away for longer
    than PATIENCE; Unanswered with the service's own words when it refuses.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            there = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of a port that is no number
            there = False
        if not there:
            raise ConfigError(f"--url {url!r} is no address; give it as in http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._place, self._root = parts.netloc, parts.path.rstrip("/")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._own = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._all:
            connection.close()

    def ask(self, user_ids: Sequence[str], k: int) -> list[Answer]:
        """A list for each user: one by GET, as a shop's pages ask, several as a batch."""
        if len(user_ids) == 1:
            body, headers = self._insist("GET", f"/v1/users/{quote(user_ids[0], safe='')}/recommendations?k={k}")
            return [_answer(body, headers)]
        answers: list[Answer] = []
        for start in range(0, len(user_ids), MOST_REQUESTS):
            asked = [{"user_id": user, "k": k} for user in user_ids[start : start + MOST_REQUESTS]]
            body, headers = self._insist("POST", "/v1/recommendations/batch", {"requests": asked})
            answers += [_answer(each, headers) for each in body["answers"]]
        return answers

    def tell(self, events: Sequence[Event]) -> None:
        """Sent again until they are acknowledged: the same id is the same event."""
        for start in range(0, len(events), MOST_EVENTS):
            self._insist("POST", "/v1/events", {"events": events[start : start + MOST_EVENTS]})

    def lists(self, user_id: str, lambda2: Sequence[float], k: int) -> list[list[str]]:
        """The user's list at each λ2, of which one request takes 16; no experiment counts them."""
        body, _ = self._insist("POST", "/v1/recommendations", {"user_id": user_id, "k": k, "lambda2": list(lambda2)})
        return [[item["item_id"] for item in each["items"]] for each in body["answers"]]

    def bundle_id(self) -> str:
        """Content id of the bundle that is served. Raises: also where the service is there and not ready."""
        return str(self._json("GET", "/health/ready")["bundle_id"])

    def create(self, body: Json) -> Json:
        """A new experiment, a draft."""
        return self._json("POST", "/v1/experiments", body)

    def start(self, key: str) -> Json:
        """Its newest version is in force."""
        return self._json("POST", f"/v1/experiments/{quote(key)}/start", {})

    def stop(self, key: str, reason: str) -> Json:
        """It has ended."""
        return self._json("POST", f"/v1/experiments/{quote(key)}/stop", {"reason": reason})

    def experiments(self) -> list[Json]:
        """All there are."""
        found: list[Json] = self._json("GET", "/v1/experiments")["experiments"]
        return found

    def experiment(self, key: str) -> Json:
        """As it is now."""
        return self._json("GET", f"/v1/experiments/{quote(key)}")

    def reason(self, key: str, user_id: str) -> str:
        """Why the user has the variant that they have, or none."""
        found = self._json("GET", f"/v1/experiments/{quote(key)}/assignment?user_id={quote(user_id, safe='')}")
        return str(found["reason"])

    def report(self, key: str) -> Json:
        """What it says; the service shows a report for some seconds before it makes a new one."""
        return self._json("GET", f"/v1/experiments/{quote(key)}/report", headers={"Accept": "application/json"})

    def report_of_now(self, key: str) -> Json:
        """What it says of everything that was told until now, by the service's clock; waits for that report."""
        said = parsedate_to_datetime(self._once("GET", "/health/ready")[1]["date"]).timestamp()
        deadline = time.monotonic() + PATIENCE
        time.sleep(1.0)  # `said` is of whole seconds: only a report of the next one is surely of later than now
        while (found := self.report(key))["at"] < said + 1 and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return found

    def page(self, key: str) -> bytes:
        """The same to read, as HTML."""
        return self._once("GET", f"/v1/experiments/{quote(key)}/report", headers={"Accept": "text/html"})[0]

    def page_url(self, key: str) -> str:
        """Where a browser finds it."""
        return f"{self.url}/v1/experiments/{quote(key)}/report?format=html"

    def _json(self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Json:
        found: Json = json.loads(self._once(method, path, body, headers)[0])
        return found

    def _insist(self, method: str, path: str, body: Json | None = None) -> tuple[Any, Mapping[str, str]]:
        """An answer, also where the service is busy or away for a moment: for what may be sent twice."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                content, headers = self._once(method, path, body)
                return json.loads(content), headers
            except ConfigError as error:
                passing = not isinstance(error, Unanswered) or error.status == BUSY
                if not passing or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)

    def _once(
        self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        sent = None if body is None else json.dumps(body).encode()
        said = {"Content-Type": "application/json", "X-Actor": "simulate-experiment", **(headers or {})}
        connection = self._connection()
        try:
            connection.request(method, self._root + path, sent, said)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            raise ConfigError(
                f"no service answers at {self.url} ({error or type(error).__name__}); start one with "
                "`python -m service --bundle BUNDLE`, or give its address with --url"
            ) from error
        if answer.status >= http.client.BAD_REQUEST:
            raise Unanswered(answer.status, f"{method} {path}: {_told(answer.status, content)}")
        return content, {name.lower(): value for name, value in answer.headers.items()}

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._kind(self._place, timeout=PATIENCE)
            self._all.append(connection)
        return connection


def _answer(body: Json, headers: Mapping[str, str]) -> Answer:
    experiment = body.get("experiment") or {"key": "", "variant": OUTSIDE}
    return Answer(
        item_ids=[item["item_id"] for item in body["items"]],
        lambda2=body["lambda2"],
        experiment=experiment["key"],
        variant=experiment["variant"],
        source=body["source"],
        request_id=headers["x-request-id"],
        bundle_id=body["bundle_id"],
    )


def _told(status: int, content: bytes) -> str:
    """A problem document in a line."""
    try:
        problem = json.loads(content)
        return f"{problem['detail']} ({status})"
    except (ValueError, KeyError, TypeError):
        return f"status {status}: {content[:200].decode(errors='replace')}"
