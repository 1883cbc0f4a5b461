"""One tree of settings: flags, then the environment (`CAUSALREC_*`), then a TOML file, then the defaults."""

import argparse
import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from causalrec.errors import ConfigError
from causalrec.index import Kind
from causalrec.search import Device
from service.events import EventType
from service.logs import LogFormat

PREFIX = "CAUSALREC_"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Listed = Annotated[tuple[EventType, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """What one process serves and how."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    bundle: Path
    """Bundle to serve: its folder, which `python -m training` printed, the link to the newest one, or a folder of
    bundles, whose link that was made last, or else newest bundle, is served."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface, what a container needs."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs it."""
    candidates: int = Field(500, ge=1, le=10_000)
    """How many items one search of the index may return where a request does not say."""
    full_scan: bool = True
    """Score every item where the search could not prove its answer; without it such an answer says exact: false."""
    retrieval: Literal["auto"] | Kind = "auto"
    """How the catalogue is searched: auto is what the bundle was exported for; an index it does not hold is built."""
    device: Device = "auto"
    """Where the catalogue is scanned: auto is the GPU where there is one. One process per GPU."""
    max_waiting: int = Field(64, ge=1)
    """While so many requests wait for the scoring thread, more are refused with 503 and Retry-After. Together with
    max_batch it bounds how long an accepted one takes; clients that ask one by one need a place each."""
    max_batch: int = Field(32, ge=1)
    """Most requests that are scored together: those that came while the last ones were scored. None is waited for."""
    deadline_ms: int = Field(1000, ge=1)
    """Milliseconds a request may wait to be scored; after that it is answered 503 with Retry-After instead."""
    shadow_rate: float = Field(0.01, ge=0, le=1)
    """Share of personal answers that are found again in idle time by scoring every item, and compared, for /metrics."""
    watch_seconds: float = Field(0, ge=0, le=3600)
    """Seconds between two looks at what that path names: another bundle is loaded beside the one that is served, and
    takes its place once it has proved itself. 0: not looked at again."""
    rehearsed_requests: int = Field(100, ge=0, le=10_000)
    """The last requests for lists, kept in memory, that a new bundle must answer before it is served."""
    least_known: float = Field(0.5, ge=0, le=1)
    """Share of the users and items served now that a bundle found by watching must know; else it is refused."""
    keep_previous: bool = True
    """Keep the bundle served before in memory, so that going back to it takes no time."""
    shadow_model: str | None = None
    """A second bundle, by path or id, whose lists are compared with those that are served; it answers nobody."""
    shadow_model_rate: float = Field(0.01, ge=0, le=1)
    """Share of requests that it ranks too, in idle time."""
    max_body_bytes: int = Field(1 << 20, ge=1024)
    """Longest request body in bytes; a longer one is refused with 413."""
    max_picture_bytes: int = Field(10 << 20, ge=1024)
    """The same for PUT /v1/items, whose body may hold a picture."""
    redis_url: SecretStr | None = None
    """Redis ≥ 6.2: redis://[user:password@]host:port/db, rediss:// (TLS), unix:///path, redis+sentinel://host,host/service,
    redis+cluster://host,host. Left out, a redis-server of the service's own keeps its data in data_dir: for the
    processes of one machine. CAUSALREC_REDIS_URL_FILE names a file that holds it."""
    data_dir: Path = Path("data")
    """Folder of what outlives the process: the event spool, and the embedded Redis."""
    durability: Literal["strict", "everysec"] = "everysec"
    """What an accepted event survives. strict: a crash of Redis' machine, every write is on its disk first. everysec:
    the end of the Redis process; of a machine, all but about the last second."""
    state_budget_ms: int = Field(20, ge=1, le=1000)
    """Milliseconds that a recommendation waits for what Redis remembers of its user; then it goes on without."""
    tenant: str = Field("default", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Whose users, events and items: what several shops keep apart in one Redis."""
    prefix: str = Field("causalrec", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """How every key in Redis begins."""
    user_acts: int = Field(200, ge=1, le=1000)
    """Acts remembered of each user; older ones are dropped."""
    user_days: int = Field(90, ge=1, le=3650)
    """Days without an act after which a user is forgotten."""
    excluding: Listed = ("click", "cart", "purchase", "rating")
    """Acts, separated by commas, after which an item counts as seen: with exclude_seen no further answer to the user
    holds it."""
    max_events: int = Field(5_000_000, ge=1000)
    """Events that Redis may hold until they are exported; then more are answered 503, none is dropped."""
    max_spool_bytes: int = Field(1 << 30, ge=1 << 20)
    """Bytes of events that data_dir may hold while Redis is away; then more are answered 503."""
    max_live_items: int = Field(10_000, ge=1, le=100_000)
    """Items that may be new, changed or deleted since the bundle; then PUT is answered 409."""
    start_without_state: bool = False
    """Answer also when Redis is away at the start. Without it such a process is not ready until Redis is there: it
    cannot know which items are hidden. One that is running goes on either way."""
    api_keys_file: Path | None = None
    """File of API keys: a line each with name, roles and sha256, made by `python -m service keys`; taken over when it
    changes. Without one, items, experiments and models can be changed only while host is this machine's own."""
    open_reads: bool = True
    """Answer questions and take events without a key; without it these ask for keys of the roles reader and events."""
    torch_threads: int = Field(1, ge=1)
    """Threads of one tensor operation; more than 1 helps only catalogues of several 100,000 items."""
    keep_alive_seconds: int = Field(75, ge=0)
    """How long an idle connection stays open; longer than the load balancer keeps it (mostly 60 s), so that this side
    never closes one that is about to be used."""
    grace_seconds: float = Field(2.0, ge=0, le=300)
    """After SIGTERM: how long to keep answering while /health/ready already says 503. Ctrl-C does not wait."""
    drain_seconds: int = Field(7, ge=0, le=300)
    """After that: how long requests in flight may take to finish. Both together stay below Docker's 10 s."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe message that is logged, to standard error."""
    access_log: bool = False
    """Log a line per request: its id, method, route template, status and seconds; no user ids, and no query."""
    log_format: LogFormat = "text"
    """How lines are logged: text is for people; json, one object a line, for what collects logs of containers."""
    log_sample: float = Field(1.0, ge=0, le=1)
    """With access_log: the share of answered and refused requests that get a line. Failed ones always do."""
    otlp_endpoint: str | None = Field(None, pattern=r"^https?://.+")
    """Where traces are sent by OTLP over HTTP, for example http://collector:4318; left out, none are made. Needs
    causalrec[tracing]."""
    trace_sample: float = Field(0.01, ge=0, le=1)
    """Share of the requests without a traceparent that are traced; one that has it is traced as it says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags and the environment; the file's values come in through `load`, below both."""
        return init_settings, env_settings


def load(flags: dict[str, object], config: Path | None = None) -> Settings:
    """
    The settings in force.

    Args:
        flags: values from the command line, by field name. Below them come CAUSALREC_<NAME>, then the content of the
            file that CAUSALREC_<NAME>_FILE names, then `config`.
        config: a TOML file of fields; without it CAUSALREC_CONFIG names one, if set.
    Raises: ConfigError naming each setting that cannot be used, its value and the reason.
    """
    named = os.environ.get(f"{PREFIX}CONFIG")
    config = config or (Path(named) if named else None)
    values = {**({} if config is None else _read(config)), **_from_files()}
    environment = {variable.upper() for variable in os.environ}
    below = {name: value for name, value in values.items() if _variable(name) not in environment}
    try:
        return Settings(**{**below, **flags})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(
            "; ".join(
                _explain(problem["loc"], problem["msg"], problem["input"])
                for problem in error.errors(include_url=False)
            )
        ) from error


def parser() -> argparse.ArgumentParser:
    """The command line: one flag per field, with its docstring; flags not given are absent from the result."""
    command = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve a bundle over HTTP. Every flag is also an environment variable CAUSALREC_<NAME> and a key "
        "of the TOML file; a flag wins over the environment, the environment over the file. `python -m service events "
        "--help` is about the events that were told, `python -m service experiments --help` about their reports, "
        "`python -m service keys --help` about API keys.",
        argument_default=argparse.SUPPRESS,
    )
    command.add_argument("--config", type=Path, help="TOML file with any of the settings below [CAUSALREC_CONFIG]")
    command.add_argument("--print-config", action="store_true", help="print the settings in force as TOML and stop")
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"default {_shown(field.default)}"
        text = f"{field.description} [{default}]".replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            command.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            command.add_argument(flag, metavar=name.split("_")[-1].upper(), help=text)
    return command


def parse(arguments: Sequence[str]) -> tuple[Settings, bool]:
    """Settings from the command line, and whether only to print them. Raises: ConfigError, SystemExit (argparse)."""
    flags = vars(parser().parse_args(arguments))
    only_print = bool(flags.pop("print_config", False))
    return load(flags, flags.pop("config", None)), only_print


def as_toml(settings: Settings) -> str:
    """The settings as a file that `--config` reads; what is not set is left out, what is secret is not shown."""
    lines = []
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(getattr(settings, name), SecretStr):
            lines.append(f"# {name} is set and not shown\n")
        elif value is not None:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines)


def _from_files() -> dict[str, object]:
    """Settings whose CAUSALREC_<NAME>_FILE names a file: how secrets are mounted. Raises: ConfigError."""
    found: dict[str, object] = {}
    for name in Settings.model_fields:
        if path := os.environ.get(f"{_variable(name)}_FILE"):
            try:
                found[name] = Path(path).read_text().strip()
            except (OSError, ValueError) as error:
                raise ConfigError(f"{_variable(name)}_FILE={path}: cannot be read ({error})") from error
    return found


def _read(config: Path) -> dict[str, object]:
    try:
        return tomllib.loads(config.read_text())
    except OSError as error:
        raise ConfigError(f"{config}: cannot be read ({error.strerror}); --config names a TOML file") from error
    except ValueError as error:
        raise ConfigError(f"{config}: is not TOML ({error})") from error


def _explain(where: tuple[int | str, ...], reason: str, value: object) -> str:
    name = ".".join(map(str, where))
    if reason == "Field required":
        return f"{name} is not set; give --{name.replace('_', '-')} or {_variable(name)}"
    if isinstance(value, str) and value.startswith("tcp://"):
        reason += " (Kubernetes sets this for a Service named causalrec: enableServiceLinks: false in the pod stops it)"
    if name not in Settings.model_fields:
        reason = f"no such setting; there are {', '.join(Settings.model_fields)}"
    shown = "…" if name == "redis_url" else repr(value)  # it may hold a password
    return f"{name}={shown}: {reason}"


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _shown(default: object) -> str:
    if default is None:
        return "none"
    return ",".join(map(str, default)) if isinstance(default, tuple) else _toml(default)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
