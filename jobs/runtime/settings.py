"""The settings of a deployment: every GANTRY_* variable, with its unit and default. Read once, at the start."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL

PREFIX: Final = "GANTRY_"
_RATE: Final = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

_DATABASES = ("sqlite:///", "postgresql+psycopg://", "postgresql://")
_BROKERS = ("filesystem://", "redis://", "rediss://", "redis+socket://")


def _database_url(url: str) -> str:
    if url and not url.startswith(_DATABASES):
        raise ValueError(f"must start with one of {', '.join(_DATABASES)}")
    if url.removeprefix("sqlite:///") in ("", ":memory:") and url:
        raise ValueError("needs a file, because a database in memory exists only inside one process")
    if url.startswith("sqlite:") and not all("=" in option for option in url.partition("?")[2].split("&") if option):
        raise ValueError("has options behind a ? that are not name=value; a ? in the path of a file is written %3F")
    _require_port(url)
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _broker_url(url: str) -> str:
    if url and not url.startswith(_BROKERS):
        raise ValueError(f"must start with one of {', '.join(_BROKERS)}")
    _require_port(url)
    number = urlsplit(url).path.strip("/")
    if url.startswith(("redis://", "rediss://")) and number and not number.isdecimal():
        raise ValueError("must end with a database number, such as redis://host:6379/0")
    return url


def _require_port(url: str) -> None:
    """Raise `ValueError` if the port is not a number up to 65535."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("has a port that is not a number up to 65535") from None


def sampler_address(url: str) -> tuple[str, str | None]:
    """Return the base URL for an HTTP client of the sampler, and the path of its unix socket (None: TCP)."""
    path = url.removeprefix("unix:")
    return (url, None) if path == url else ("http://sampler", path)


def _rate(text: str) -> str:
    if text and not _RATE.fullmatch(text):
        raise ValueError("must be a number of requests per unit of time, such as 600/minute or 20/second")
    return text


def _folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file, but it must be a folder")
    return path


def _web_url(url: str) -> str:
    if not url.startswith(("http://", "https://", "unix:/")):
        raise ValueError("must start with http://, https:// or unix:/")
    _require_port(url)
    return url.rstrip("/")


def _origins(text: str) -> str:
    for origin in (word.strip() for word in text.split(",") if text):
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}"):
            raise ValueError(
                f"must be origins such as https://pages.example.org, separated by commas, not {origin!r}"
            )
    return text


class Settings(BaseSettings):
    """The settings of one process. An empty URL means an embedded default inside `data_dir`, without a server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Annotated[Path, AfterValidator(_folder)] = Field(
        Path("gantry-data"),
        description="Folder of checkpoints, previews and other files; also of the embedded database and queue.",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        "", description="URL of PostgreSQL 15 or later, or of SQLite. Empty: SQLite in the data folder."
    )
    broker_url: Annotated[str, AfterValidator(_broker_url)] = Field(
        "", description="URL of Redis or Valkey. Empty: a queue of files in the data folder."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    auth: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether the API requires a key. auto: only if it listens on more than loopback."
    )
    key_rate: Annotated[str, AfterValidator(_rate)] = Field(
        "1200/minute", description="Requests that one key may make, such as 20/second. Empty: no limit."
    )
    tenant_rate: Annotated[str, AfterValidator(_rate)] = Field(
        "6000/minute", description="Requests that all keys of one tenant together may make. Empty: no limit."
    )
    port: int = Field(8000, ge=1, le=65535, description="Port that the API listens on.")
    ui_port: int = Field(
        8002, ge=1, le=65535, description="Port that the dashboard listens on. /ui of the API redirects there."
    )
    key: str = Field("", repr=False, description="API key that the command line sends.")
    url: Annotated[str, AfterValidator(_web_url)] = Field(
        "http://127.0.0.1:8000", description="URL of the API, for the command line and the dashboard."
    )
    sampler_url: Annotated[str, AfterValidator(_web_url)] = Field(
        "http://127.0.0.1:8001", description="URL of the sampler. The sampler listens there."
    )
    sampler_queue: int = Field(
        16, ge=1, le=10_000, description="Requests that may wait in the sampler. Further ones get an error."
    )
    sampler_cache: int = Field(8, ge=1, le=1000, description="Generators that the sampler keeps in memory.")
    samples_cache_mb: int = Field(
        256,
        ge=0,
        le=1_000_000,
        description="Disk space for drawn images, so that a repeated request needs no sampler, MB. 0: off.",
    )
    queue_limit: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Jobs of all tenants together that may wait. Further ones are refused.",
    )
    upload_mb: int = Field(2048, ge=1, le=20_000, description="Maximum size of an uploaded data set, MB.")
    webhooks: bool = Field(
        False, description="Let callers register https URLs that receive the events of their jobs."
    )
    webhook_allow_private: bool = Field(
        False,
        description="Let webhooks use private addresses, http and any port. Set it only if everyone who may register "
        "a webhook may also reach everything that this host can reach.",
    )
    upload_seconds: float = Field(3600, ge=1, le=86_400, description="Maximum duration of an upload, s.")
    uploads_at_once: int = Field(
        8, ge=1, le=1000, description="Uploads that one API process accepts at the same time."
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        description="Origins whose web pages may read the API in a browser, separated by commas, or *. Empty: none.",
    )
    docs: bool = Field(True, description="Serve the pages /docs and /redoc.")
    lease_seconds: float = Field(
        60,
        ge=1,
        le=3600,
        description="Length of a worker's lease on a job, s. Renewed every second, or every quarter of it.",
    )
    stall_seconds: float = Field(300, ge=1, le=86400, description="Time after which a silent trainer is killed, s.")
    grace_seconds: float = Field(30, ge=1, le=3600, description="Time that a trainer has to save and stop, s.")
    poll_seconds: float = Field(
        0.5, ge=0.05, le=60, description="Interval at which the relay looks for unsent hints, s."
    )
    republish_seconds: float = Field(
        15, ge=0.5, le=3600, description="Time after which the hint for a queued job is sent again, s."
    )
    trainer_threads: int = Field(0, ge=0, le=1024, description="CPU threads of a trainer. 0: its share of the cores.")
    faults_dir: Path | None = Field(
        None, description="For tests only: a folder of files that kill processes at named steps."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )

    @model_validator(mode="after")
    def _require_keys_on_networks(self) -> Self:
        if not self.on_loopback and self.auth == "off":
            raise ValueError(
                f"GANTRY_HOST {self.host!r} opens the API to the network, but GANTRY_AUTH=off lets everyone use it "
                "without a key. Listen on 127.0.0.1, or leave GANTRY_AUTH at auto"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the API can be reached only from this machine."""
        return self.host in _LOOPBACK

    @property
    def asks_for_keys(self) -> bool:
        """Whether a request needs a key."""
        return self.auth == "on" or (self.auth == "auto" and not self.on_loopback)

    @property
    def database(self) -> URL:
        """The SQLAlchemy URL."""
        # Imported here, because most commands need no database.
        from sqlalchemy import URL, make_url  # noqa: PLC0415

        if self.database_url:
            return make_url(self.database_url)
        # Not a string: in one, a ? or a % of the path would mean something else.
        return URL.create("sqlite", database=str(self.data_dir.absolute() / "gantry.db"))

    @property
    def sqlite_file(self) -> Path | None:
        """The file of the database if it is SQLite, else None."""
        url = self.database
        return Path(url.database or "") if url.get_backend_name() == "sqlite" else None

    @property
    def broker(self) -> str:
        """The kombu URL."""
        return self.broker_url or "filesystem://"

    @property
    def origins(self) -> list[str]:
        """The origins of `cors_origins`, as a list."""
        return [word.strip() for word in self.cors_origins.split(",") if word.strip()]

    @property
    def queue_dir(self) -> Path:
        """The folder of the messages of the file system broker."""
        return self.data_dir.absolute() / "queue"

    @property
    def samples_cache_dir(self) -> Path:
        """The folder of images that were drawn on request: a cache of this machine, not a part of the store."""
        return self.data_dir.absolute() / "answers"

    @property
    def features_dir(self) -> Path:
        """The folder of trained feature networks: a cache of this machine, not a part of the store.

        A network that is missing here is trained again, from the images of its data set.
        """
        return self.data_dir.absolute() / "features"

    def environment(self) -> dict[str, str]:
        """Return these settings as environment variables, so that a child process reads the same ones."""
        values = self.model_dump(mode="json")
        values["data_dir"] = str(self.data_dir.absolute())
        # The key belongs to a caller, not to the service.
        del values["key"]
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items() if value is not None}


def load_settings(**overrides: object) -> Settings:
    """Return the settings of this process. `overrides` (a command's flags) take precedence over variables.

    Raises `SettingsError`, with one sentence for each variable that is unknown or not valid.
    """
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    sentences = [
        _unknown(name, known) for name in sorted(os.environ) if name.startswith(PREFIX) and name not in known
    ]
    if sentences:
        raise SettingsError(" ".join(sentences))
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(" ".join(_sentence(e["loc"], e["msg"]) for e in error.errors())) from None


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    if not location:
        return f"{reason}."
    return f"{PREFIX}{str(location[0]).upper()} is not usable: {reason[:1].lower()}{reason[1:]}."


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "`gantry settings` lists all settings."
    return f"{name} is not a setting; {hint}"
