"""The product as a whole, for tests that look at it with tools of the system."""

from collections.abc import Iterator
from shutil import which

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.service import Service, running_service


def program(name: str) -> str:
    """The path of a system program; a test that needs a missing one fails."""
    path = which(name) or which(name, path="/usr/sbin")
    if path is None:
        pytest.fail(f"{name} is not installed; `make test-system` installs it where it may")
    return path


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running server on a new SQLite file."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool."""
    return program("promtool")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; its own sandbox does not work for root in a container.

    Not kept for the session: Playwright's event loop would stand in the way of asynchronous tests.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()
