"""What a person sees: the first page and the API's own documentation, without any other host."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.demo_billing import billing
from tests.support.service import Service, running_service


def _open(browser: Browser, url: str) -> tuple[Page, list[str]]:
    """Open a page; also return the addresses outside of the service that it asked for, and its errors."""
    troubles: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: None if request.url.startswith(url) else troubles.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url))
    return page, troubles


def test_the_first_page_says_where_things_are(browser: Browser, service: Service) -> None:
    page, troubles = _open(browser, service.url)

    page.goto(service.url, wait_until="networkidle")

    addresses = {link.get_attribute("href") for link in page.get_by_role("link").all()}
    assert {"/docs", "/health", "/metrics"} <= addresses
    assert not troubles


def test_the_documentation_works_offline(browser: Browser, service: Service) -> None:
    page, troubles = _open(browser, service.url)

    page.goto(f"{service.url}/docs")

    page.get_by_text("/records/{record_id}/process").first.wait_for()
    assert [trouble for trouble in troubles if not trouble.startswith("data:")] == []


def _execute(page: Page, method: str, path: str, *, body: str | None = None, **parameters: str) -> Any:
    """Try an operation out on the page, and return what the page shows of the answer."""
    block = page.locator(f".opblock-{method.lower()}", has=page.locator(f'[data-path="{path}"]'))
    block.locator(f'[data-path="{path}"]').click()
    block.get_by_role("button", name="Try it out").click()
    for name, value in parameters.items():
        block.get_by_placeholder(name).fill(value)
    if body is not None:
        block.locator("textarea").fill(body)
    block.get_by_role("button", name="Execute").click()
    return json.loads(block.locator(".live-responses-table .response-col_description code").first.inner_text())


def test_a_provider_is_approved_from_the_documentation(browser: Browser, tmp_path: Path) -> None:
    candidate = {
        "company_name": "Fresh Fruit Ltd", "contact_email": "info@fresh.example", "products": ["apples"],
        "truck_count": 5, "capacity_tons_per_day": 100,
    }  # fmt: skip
    with billing() as peer, running_service(tmp_path, environment={"BILLING_SERVICE_URL": peer.url}) as service:
        page, troubles = _open(browser, service.url)
        page.goto(f"{service.url}/docs")
        page.get_by_role("button", name="Authorize").first.click()
        login = page.locator(".auth-container", has=page.locator("#oauth_username"))
        login.locator("#oauth_username").fill("admin@example.com")
        login.locator("#oauth_password").fill("admin123")
        login.get_by_role("button", name="Apply given OAuth2 credentials").click()
        page.get_by_role("button", name="Remove authorization").first.wait_for()
        page.get_by_role("button", name="Close").first.click()
        registered = _execute(page, "POST", "/candidates", body=json.dumps(candidate))
        approved = _execute(page, "POST", "/candidates/{candidate_id}/approve", candidate_id=registered["candidate_id"])

    assert (approved["status"], approved["provider_id"]) == ("approved", 10001)
    assert [trouble for trouble in troubles if not trouble.startswith("data:")] == []
