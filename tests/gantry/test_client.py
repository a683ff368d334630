"""The client with a running service. The code of docs/python.md tests the rest, with a job that trains."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from gantry.client import ApiError, BadSettingError, Client, UnreachableError, stopping
from gantry.errors import BadArgumentError
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.api.live_service import Live, serving
from tests.ports import free_port


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as started:
        yield started


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(live.url) as made:
        yield made


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Records the Authorization header of each request."""

    headers_seen: list[str | None]

    def do_GET(self) -> None:
        self.headers_seen.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_every_request_carries_the_key_and_none_without_one() -> None:
    _Recorder.headers_seen = []
    with http.server.HTTPServer(("127.0.0.1", 0), _Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        with Client(url, key="gk_secret") as keyed, Client(url) as plain:
            keyed.ready(), keyed.job("job_1"), plain.ready()
        server.shutdown()
        thread.join()
    assert _Recorder.headers_seen == ["Bearer gk_secret", "Bearer gk_secret", None]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8000", "must start with http:// or https://"),
        ("ftp://127.0.0.1", "must start with http:// or https://"),
        ("", "must start with http:// or https://"),
        ("http://", "has no host"),
        ("http://127.0.0.1:abc", "has an invalid host or port"),
        ("http://127.0.0.1:99999", "has an invalid host or port"),
        ("http://[bad", "has an invalid host or port"),
        ("http://127.0.0.1\n:8000", "has an invalid host or port"),
        ("http://127.0.0.1:1?x=1", r"must end before the \? or #, because the client adds paths to it"),
        ("http://127.0.0.1:1/#jobs", r"must end before the \? or #, because the client adds paths to it"),
        ("http://\udcff", "has an invalid host or port"),
    ],
)
def test_an_invalid_address_is_an_error(url: str, problem: str) -> None:
    with pytest.raises(BadSettingError, match=f"GANTRY_URL.* {problem}; an example is http://127.0.0.1:8000"):
        Client(url)


@pytest.mark.parametrize(
    "key", ["se\ncret", "secret\n", " secret", "secret ", "se\x01cret", "sécret", "\udcffsecret"]
)
@pytest.mark.parametrize("given", [True, False])
def test_an_invalid_key_is_an_error_that_does_not_show_it(
    key: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not given:
        monkeypatch.setenv("GANTRY_KEY", key)
    with pytest.raises(BadSettingError, match="GANTRY_KEY") as refused:
        Client(key=key if given else None)
    assert "cret" not in str(refused.value) and refused.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "actions", "pending"),
    [
        ("running", ["cancel", "pause"], ""),
        ("running", ["cancel", "resume"], "pausing"),
        ("running", [], "cancelling"),
        ("paused", ["cancel", "resume"], ""),
        ("succeeded", ["delete"], ""),
    ],
)
def test_the_allowed_actions_show_what_a_running_job_was_asked(status: str, actions: list[str], pending: str) -> None:
    assert stopping({"status": status, "allowed_actions": actions}) == pending


def test_curves_are_arrays_in_which_infinite_values_are_nan(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    values = np.ones((5000, 2))
    values[1233, 0], values[10, 1] = -50, np.inf
    live.fake_worker.curve(job_id, values, "loss_d", "loss_g")
    thinned = client.arrays(job_id)
    assert sorted(thinned) == ["loss_d", "loss_g"]
    steps, loss_d = thinned["loss_d"]
    assert steps.dtype == np.int64 and loss_d.dtype == np.float64 and len(steps) == len(loss_d) <= 1000
    assert loss_d[steps == 1234] == [-50], "no spike is lost"
    whole = client.arrays(job_id, ["loss_g"], every_point=True)["loss_g"]
    assert whole.steps.tolist() == list(range(1, 5001)) and np.isnan(whole.values).nonzero()[0].tolist() == [10]


def test_a_curve_of_several_pages_is_fetched_whole(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    for first in (1, 10_001, 20_001):
        live.fake_worker.curve(job_id, np.arange(first, first + 10_000)[:, None], "loss_d", first_step=first)
    steps, values = client.arrays(job_id, ["loss_d"], every_point=True)["loss_d"]
    assert steps.tolist() == list(range(1, 30_001)) and np.array_equal(steps, values)


def test_a_job_without_curves_has_none(client: Client, live: Live) -> None:
    assert client.arrays(live.fake_worker.submit()) == {}


def test_previews_are_pictures_in_order_of_step(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.preview(job_id, 20, 200)
    live.fake_worker.preview(job_id, 0, 10)
    found = client.preview_images(job_id)
    assert [(preview.step, preview.image.getpixel((0, 0))) for preview in found] == [(0, 10), (20, 200)]
    assert Image.open(io.BytesIO(client.film(job_id))).format == "GIF"


def test_waiting_ends_with_the_job(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    ending = threading.Timer(0.5, live.fake_worker.finish, (job_id, Status.SUCCEEDED))
    ending.start()
    assert client.wait(job_id)["status"] == "succeeded"
    ending.join()
    assert client.wait(job_id, seconds=60)["status"] == "succeeded"


def test_waiting_ends_after_the_given_seconds(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=f"{job_id} has not ended after 1.5 s; it continues"):
        client.wait(job_id, seconds=1.5)
    assert 1.5 <= time.monotonic() - began < 30
    assert client.job(job_id)["status"] == "running"


def test_a_refusal_has_a_code_and_a_pointer(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.submit({"dataset": "fashion-mnist-mini", "total_stepz": 1})
    assert refused.value.status == 422 and refused.value.problem["errors"][0]["pointer"] == "/total_stepz"
    with pytest.raises(ApiError, match="There is no preset 'nine'"):
        client.preset("nine")
    with Client(f"http://127.0.0.1:{free_port()}") as unserved, pytest.raises(UnreachableError):
        unserved.ready()


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (301, {"Location": "https://gantry.example/v1/jobs"}, "set GANTRY_URL to https://gantry.example/v1/jobs"),
        (200, {"Content-Type": "text/html"}, "is not Gantry"),
        (502, {"Content-Type": "text/html"}, "answered 502"),
    ],
)
def test_another_server_is_an_error(status: int, headers: dict[str, str], message: str) -> None:
    class OtherService(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"<html>")

    with http.server.HTTPServer(("127.0.0.1", 0), OtherService) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(ApiError, match=message):
            client.jobs()
        server.shutdown()


def test_one_name_is_a_list_of_one_and_never_its_letters(client: Client, live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.curve(job_id, np.ones((3, 2)), "loss_d", "loss_g")
    for every in (False, True):
        assert list(client.arrays(job_id, "loss_d", every_point=every)) == ["loss_d"]
    assert list(client.series(job_id, "loss_g")["series"]) == ["loss_g"]
    assert client.curves(job_id, names="loss_d", accept="text/csv").splitlines()[0] == b"step,loss_d"
    # A data set without the images: the service looks at the label first.
    with pytest.raises(ApiError, match="There is no class 'Sneakerz'"):
        client.contact_sheet("fashion-mnist-mini", labels="Sneakerz")
    live.fake_worker.checkpoint(job_id, 10, best=True)
    for ask in (client.images, client.samples):
        with pytest.raises(ApiError, match="There is no class '10'"):
            ask(job_id, labels="10")


def test_white_space_around_an_id_is_cut_off_and_an_empty_id_is_refused(client: Client, live: Live) -> None:
    job_id = live.fake_worker.submit()
    assert client.job(f" {job_id}\r\n")["id"] == job_id
    with pytest.raises(ApiError, match="There is no job"):
        client.job("job_1?y#z \udcff")
    for nothing in ("", "\r", ".."):
        with pytest.raises(BadArgumentError):
            client.delete(nothing)


def test_a_missing_file_is_an_error_before_a_request_is_sent(client: Client) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload("nowhere.zip")
