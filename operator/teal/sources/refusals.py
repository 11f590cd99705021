"""What an HTTP status other than 200 means, and what to do about it.

The message of the server is shown, because it often names the cause. But servers often repeat what they were
sent, and a text or a key must not appear in a status or a log. So the message is cut where one begins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx

from teal.domain.retry_after import retry_after
from teal.sources.errors import EmbedderError, EmbedderRefusedError, EmbedderUnavailableError

LONGEST_MESSAGE = 200
# So many characters of a text are recognised as its beginning.
BEGINNING = 16
RETRIED = {408, 425, 429}


def refusal(response: httpx.Response, model: str, key_name: str, texts: Sequence[str]) -> EmbedderError:
    """The error for `response` (not 200) to a request for `texts`."""
    url, status = response.request.url, response.status_code
    said = f" It said: {words}" if (words := _words(response, texts)) else ""
    if status in RETRIED or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        pause = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return EmbedderUnavailableError(f"{url} answers {status}.{said}", pause)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return EmbedderRefusedError(f"{url} answers {status}: correct the key in {key_name}.")
    if status in (httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY):
        advice = f"Lower batchSize (this request had {len(texts)} texts), or shorten the texts."
    elif response.is_redirect:
        advice = "It redirects, and Teal does not follow: use the URL that answers without a redirect."
    else:
        advice = f"Check the embedder's url and the model {model!r}."
    return EmbedderRefusedError(f"{url} answers {status}. {advice}{said}")


def _words(response: httpx.Response, texts: Sequence[str]) -> str:
    words = " ".join(_message(response).split())
    for text in texts:
        beginning = " ".join(text.split())[:BEGINNING]
        if beginning:
            words = words.partition(beginning)[0]
    return words if len(words) <= LONGEST_MESSAGE else words[:LONGEST_MESSAGE] + "…"


def _message(response: httpx.Response) -> str:
    """The message in the forms that servers use: `{"error": {"message": …}}`, `{"error": …}`, `{"detail": …}`."""
    try:
        document = json.loads(response.content)
    except ValueError:
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(document, dict) and key in document:
            document = document[key]
    return document if isinstance(document, str) else ""
