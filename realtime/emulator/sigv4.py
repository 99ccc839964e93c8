"""Checks AWS Signature Version 4, with the standard library only.

Clients sign with botocore or their own; a check that shared their code would agree with their mistakes.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from realtime.emulator.errors import ApiError, bad_request, unauthorized

SERVICE = "appsync"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/"
    r"(?P<scope>(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request),\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
WINDOW = timedelta(minutes=5)
SKEW_MESSAGE = "Signature expired: the request is more than five minutes from the server's time."


def verify(
    headers: Mapping[str, str],
    *,
    path: str,
    body: bytes,
    secret_of: Callable[[str], str | None],
    now: datetime | None = None,
) -> str:
    """Check a POST to ``path`` with ``body`` and return the access key id; raises ApiError.

    ``headers`` have lower-case names and hold ``authorization``, ``x-amz-date`` and whatever was signed.
    """
    match = AUTHORIZATION.fullmatch(headers.get("authorization", "").strip())
    if match is None or match["service"] != SERVICE:
        raise bad_request("Authorization header is not a valid Signature Version 4 one.")
    secret = secret_of(match["key"])
    if secret is None:
        raise ApiError(
            "UnrecognizedClientException", "The security token included in the request is invalid.", status=403
        )
    date = headers.get("x-amz-date", "")
    _check_window(date, match["date"], now or datetime.now(UTC))
    canonical = _canonical_request(headers, match["headers"], path, body)
    to_sign = f"AWS4-HMAC-SHA256\n{date}\n{match['scope']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(_key(secret, match["date"], match["region"]), to_sign.encode(), hashlib.sha256)
    if not hmac.compare_digest(expected.hexdigest(), match["signature"]):
        raise bad_request(
            "The request signature we calculated does not match the signature you provided."
            " Check your AWS Secret Access Key and signing method."
        )
    return match["key"]


def _check_window(date: str, day: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise bad_request("x-amz-date is not of the form YYYYMMDDTHHMMSSZ.") from None
    if not date.startswith(day):
        raise bad_request("Date in Credential scope does not match x-amz-date.")
    if abs(now - signed) > WINDOW:
        raise unauthorized(SKEW_MESSAGE)


def _canonical_request(headers: Mapping[str, str], signed: str, path: str, body: bytes) -> str:
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed.split(";")]
    digest = hashlib.sha256(body).hexdigest()
    return f"POST\n{path}\n\n{''.join(lines)}\n{signed}\n{digest}"


def _key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, SERVICE, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
