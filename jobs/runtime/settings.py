"""How a process is deployed: every GANTRY_* variable with its unit and default. Read once, at the edge."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingsError

PREFIX: Final = "GANTRY_"
_RATE: Final = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

_DATABASES = ("sqlite:///", "postgresql+psycopg://", "postgresql://")
_BROKERS = ("filesystem://", "redis://", "rediss://", "redis+socket://")


def _database_url(url: str) -> str:
    if url and not url.startswith(_DATABASES):
        raise ValueError(f"must start with one of {', '.join(_DATABASES)}")
    if url.removeprefix("sqlite:///") in ("", ":memory:") and url:
        raise ValueError("needs a file: each process would have a memory of its own")
    _require_port(url)
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _broker_url(url: str) -> str:
    if url and not url.startswith(_BROKERS):
        raise ValueError(f"must start with one of {', '.join(_BROKERS)}")
    _require_port(url)
    number = urlsplit(url).path.strip("/")
    if url.startswith(("redis://", "rediss://")) and number and not number.isdecimal():
        raise ValueError("must end with the number of a database, such as redis://host:6379/0")
    return url


def _require_port(url: str) -> None:
    """Raise `ValueError` where the port is no number up to 65535."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("has a port that is no number up to 65535") from None


def sampler_address(url: str) -> tuple[str, str | None]:
    """What an HTTP client calls the sampler at `url`, and the unix socket to reach it by (None: none)."""
    path = url.removeprefix("unix:")
    return (url, None) if path == url else ("http://sampler", path)


def _rate(text: str) -> str:
    if text and not _RATE.fullmatch(text):
        raise ValueError("must be a number of requests a time, such as 600/minute or 20/second")
    return text


def _folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file, and a folder is needed")
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
            raise ValueError(f"takes origins such as https://pages.example.org, separated by commas, not {origin!r}")
    return text


class Settings(BaseSettings):
    """One process's settings. Empty URLs mean: inside `data_dir`, with no server to install."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Annotated[Path, AfterValidator(_folder)] = Field(
        Path("gantry-data"), description="Folder for checkpoints, previews and the embedded default."
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        "", description="PostgreSQL 15 or later, or SQLite; empty: SQLite in the data folder."
    )
    broker_url: Annotated[str, AfterValidator(_broker_url)] = Field(
        "", description="Redis or Valkey; empty: a queue of files in the data folder."
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    auth: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether the API asks for a key; auto: unless it listens on loopback alone."
    )
    key_rate: Annotated[str, AfterValidator(_rate)] = Field(
        "1200/minute", description="Requests that one key may make, such as 20/second; empty: any number."
    )
    tenant_rate: Annotated[str, AfterValidator(_rate)] = Field(
        "6000/minute", description="Requests that all keys of a tenant may make; empty: any number."
    )
    port: int = Field(8000, ge=1, le=65535, description="Port the API listens on.")
    ui_port: int = Field(
        8002, ge=1, le=65535, description="Port the dashboard listens on; the API's /ui leads there."
    )
    key: str = Field("", repr=False, description="The key that the command line sends to the API.")
    url: Annotated[str, AfterValidator(_web_url)] = Field(
        "http://127.0.0.1:8000", description="Where the command line and the dashboard find the API."
    )
    sampler_url: Annotated[str, AfterValidator(_web_url)] = Field(
        "http://127.0.0.1:8001", description="Where the API reaches the sampler, and where the sampler listens."
    )
    sampler_queue: int = Field(16, ge=1, le=10_000, description="Requests the sampler lets wait before it says busy.")
    sampler_cache: int = Field(8, ge=1, le=1000, description="Generators the sampler keeps in memory.")
    samples_cache_mb: int = Field(
        256, ge=0, le=1_000_000, description="Disk for drawn images, MB, so that repeats need no sampler; 0: none."
    )
    queue_limit: int = Field(
        100_000, ge=1, le=10_000_000, description="Jobs that may wait, all tenants' together; the next is refused."
    )
    upload_mb: int = Field(2048, ge=1, le=20_000, description="Largest upload of a data set, MB.")
    webhooks: bool = Field(
        False, description="Let callers register https addresses that are told what happens to their jobs."
    )
    webhook_allow_private: bool = Field(
        False,
        description="Let webhooks lead to private addresses, by http and on any port too: only where everybody who "
        "may register one may reach all that this host reaches.",
    )
    upload_seconds: float = Field(3600, ge=1, le=86_400, description="Longest that an upload may take, s.")
    uploads_at_once: int = Field(8, ge=1, le=1000, description="Uploads that one API process takes at a time.")
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "", description="Origins whose pages a browser lets read the API, separated by commas, or *; empty: none."
    )
    docs: bool = Field(True, description="Serve the pages /docs and /redoc.")
    lease_seconds: float = Field(
        60, ge=1, le=3600, description="A worker's claim on a job, s; renewed each second or quarter of it."
    )
    stall_seconds: float = Field(300, ge=1, le=86400, description="A trainer silent for so long is ended, s.")
    grace_seconds: float = Field(30, ge=1, le=3600, description="What a trainer gets to save and stop, s.")
    poll_seconds: float = Field(0.5, ge=0.05, le=60, description="How often the relay looks for unsent hints, s.")
    republish_seconds: float = Field(15, ge=0.5, le=3600, description="A queued job's hint is sent again after, s.")
    trainer_threads: int = Field(0, ge=0, le=1024, description="CPU threads of a trainer; 0: its part of the cores.")
    faults_dir: Path | None = Field(
        None, description="For tests alone: a folder whose files end processes at named steps of the protocol."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @model_validator(mode="after")
    def _closed_by_default(self) -> Self:
        if not self.on_loopback and self.auth == "off":
            raise ValueError(
                f"GANTRY_HOST {self.host!r} opens the API to the network, where GANTRY_AUTH=off asks nobody for a "
                "key; listen on 127.0.0.1, or leave GANTRY_AUTH at auto"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether what listens here is reached from this machine alone."""
        return self.host in _LOOPBACK

    @property
    def asks_for_keys(self) -> bool:
        """Whether a request needs a key."""
        return self.auth == "on" or (self.auth == "auto" and not self.on_loopback)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'gantry.db'}"

    @property
    def broker(self) -> str:
        """The kombu URL."""
        return self.broker_url or "filesystem://"

    @property
    def origins(self) -> list[str]:
        """Those of `cors_origins`."""
        return [word.strip() for word in self.cors_origins.split(",") if word.strip()]

    @property
    def queue_dir(self) -> Path:
        """Where the filesystem broker keeps its messages."""
        return self.data_dir.absolute() / "queue"

    @property
    def artifacts_dir(self) -> Path:
        """Where bytes live: checkpoints, previews, logs."""
        return self.data_dir.absolute() / "artifacts"

    @property
    def samples_cache_dir(self) -> Path:
        """Where images that were drawn on request are kept, for those who ask again."""
        return self.data_dir.absolute() / "answers"

    @property
    def features_dir(self) -> Path:
        """Where the feature networks of data sets are kept, once they are trained."""
        return self.data_dir.absolute() / "features"

    @property
    def datasets_dir(self) -> Path:
        """Where data sets that people bring lie, a folder each, by id."""
        return self.data_dir.absolute() / "datasets"

    def environment(self) -> dict[str, str]:
        """These settings as variables, for a child process: it reads what this one read."""
        values = self.model_dump(mode="json")
        values["data_dir"] = str(self.data_dir.absolute())
        # A caller's, and no part of the service.
        del values["key"]
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items() if value is not None}


def load_settings(**overrides: object) -> Settings:
    """The settings of this process. `overrides` (a command's flags) win over variables.

    Raises `SettingsError`, one sentence a variable that is unknown or cannot be.
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


def _sentence(place: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    if not place:
        return f"{reason}."
    return f"{PREFIX}{str(place[0]).upper()} is not usable: {reason[:1].lower()}{reason[1:]}."


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "`gantry settings` lists them all."
    return f"{name} is not a setting; {hint}"
