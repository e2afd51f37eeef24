"""What a person sees: the first page and the API's own documentation, without any other host."""

from playwright.sync_api import Browser, Page

from tests.support.service import Service


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
