"""Tests of the settings: variables, defaults, and one sentence for a value that is not valid."""

from pathlib import Path

import pytest

from jobs.db import migrate
from jobs.errors import SettingsError
from jobs.runtime.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GANTRY_PORT", "eighty", "GANTRY_PORT is not usable"),
        ("GANTRY_PORT", "70000", "less than or equal to 65535"),
        ("GANTRY_DATABASE_URL", "mysql://x", "GANTRY_DATABASE_URL is not usable: must start with one of sqlite:///"),
        ("GANTRY_BROKER_URL", "amqp://x", "GANTRY_BROKER_URL is not usable: must start with one of filesystem://"),
        ("GANTRY_SAMPLER_URL", "ftp://x", "must start with http://"),
        ("GANTRY_DATABASE_URL", "postgresql://h:port/d", "has a port that is not a number"),
        ("GANTRY_DATABASE_URL", "sqlite:///:memory:", "needs a file"),
        ("GANTRY_BROKER_URL", "redis://h:abc/0", "has a port that is not a number"),
        ("GANTRY_BROKER_URL", "redis://h:6379/x", "such as redis://host:6379/0"),
        ("GANTRY_DATA_DIR", "/dev/null", "is a file, but it must be a folder"),
        ("GANTRY_KEY_RATE", "many", "such as 600/minute"),
        ("GANTRY_CORS_ORIGINS", "pages.example.org", "must be origins such as https://"),
        ("GANTRY_CORS_ORIGINS", "https://a.org/path", "must be origins such as https://"),
        ("GANTRY_CORS_ORIGINS", "https://a.org,", "must be origins such as https://"),
        ("GANTRY_PROT", "8000", "GANTRY_PROT is not a setting; did you mean GANTRY_PORT?"),
        ("GANTRY_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_an_invalid_variable_is_reported_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flags_take_precedence_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_PORT", "8100")
    assert load_settings(port=None).port == 8100
    assert load_settings(port=8200).port == 8200


def test_a_plain_postgres_url_gets_the_installed_driver() -> None:
    assert str(Settings(database_url="postgresql://h/d").database) == "postgresql+psycopg://h/d"


@pytest.mark.parametrize("name", ["what now?", "100%20", "a#b", "100%", "x y+z;=&", "[ab", "ümläut"])
def test_the_database_is_in_the_data_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name)
    migrate(settings)
    assert settings.sqlite_file == tmp_path / name / "gantry.db" and settings.sqlite_file.is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing beside the folder"
    given = Settings(data_dir=tmp_path, database_url=str(settings.database))
    assert given.sqlite_file == settings.sqlite_file


def test_a_path_with_a_question_mark_in_a_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_DATABASE_URL", "sqlite:////srv/what now?/gantry.db")
    with pytest.raises(SettingsError, match=r"GANTRY_DATABASE_URL is not usable: has options .* is written %3F"):
        load_settings()
    monkeypatch.setenv("GANTRY_DATABASE_URL", "sqlite:////srv/gantry.db?timeout=9")
    assert load_settings().sqlite_file == Path("/srv/gantry.db")


def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, sqlite_settings: Settings) -> None:
    for name, value in sqlite_settings.environment().items():
        monkeypatch.setenv(name, value)
    child = load_settings()
    assert child.database == sqlite_settings.database
    assert child.model_dump(exclude={"data_dir"}) == sqlite_settings.model_dump(exclude={"data_dir"})


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())
