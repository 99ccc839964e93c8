"""Secrets that can be recognized, and the search for them wherever they may have ended up."""

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import msgspec
from cryptography.fernet import Fernet

PLANTED = {
    "the API key": "da2-canaryapikeycanaryapike",
    "the Lambda token": "canary-lambda-token-0123456789",
    "the AWS secret": "canary/aws+secret/0123456789abcdefghijkl",
    "the AWS session token": "canary/aws+session==0123456789",
    "the client secret": "canary-client-secret-0123456789",
    "the metrics token": "canary-metrics-token-0123456789",
    "the snapshot's token": "canary-snapshot-token-0123456789",
}
SETTINGS = {
    "APPSYNC_API_KEY": PLANTED["the API key"],
    "APPSYNC_LAMBDA_TOKEN": PLANTED["the Lambda token"],
    "AWS_ACCESS_KEY_ID": "AKIDCANARY",
    "AWS_SECRET_ACCESS_KEY": PLANTED["the AWS secret"],
    "AWS_SESSION_TOKEN": PLANTED["the AWS session token"],
    "AWS_EC2_METADATA_DISABLED": "true",
    "APPSYNC_REGION": "eu-west-1",
    "OIDC_CLIENT_SECRET": PLANTED["the client secret"],
    "METRICS_TOKEN": PLANTED["the metrics token"],
}
ANY_OF_THEM = {
    "some JWT": b"eyJhbGciOi",
    "some authorization object": b64encode(b'{"host"')[:8],
    "some signature of AWS": b"AWS4-HMAC-SHA256",
}
"""How every JWT begins, every authorization object in base64, and every signed one."""

LEAST = 16
"""Characters of a secret that are worth as much as the whole: what is cut off is no excuse."""


def tokens(sealed_rows, token_key):
    """Return the users' tokens that these database rows keep sealed, by what they are."""
    found = {}
    for number, sealed in enumerate(sealed_rows):
        kept = msgspec.json.decode(Fernet(token_key).decrypt(bytes(sealed)))
        for what, token in zip(("ID", "access", "refresh"), kept, strict=False):
            found[f"the {what} token {number}"] = token
    return found


def found_in(evidence, secrets):
    """Return which secrets are in which piece of evidence, as they are or as they travel.

    Args:
        evidence: bytes by the name of where they come from.
        secrets: texts by what they are.
    """
    patterns = {what: _spellings(secret) for what, secret in secrets.items()}
    patterns |= {what: {pattern} for what, pattern in ANY_OF_THEM.items()}
    return [
        (what, where)
        for where, text in evidence.items()
        for what, spellings in patterns.items()
        if any(spelling in text for spelling in spellings)
    ]


def _spellings(secret):
    """A secret's beginning and end, plain, as JSON and in an address."""
    ends = {secret[:LEAST], secret[-LEAST:]} if not secret.startswith("eyJ") else {secret[-LEAST:]}
    return {
        spelling.encode() for end in ends for spelling in (end, quote(end, safe=""), json.dumps(end)[1:-1])
    } | _base64(secret)


def _base64(secret):
    """What base64 makes of a secret, wherever in a text it begins: three ways to meet its groups of three."""
    found = set()
    for shift in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(b"\0" * shift + secret.encode())
            found.add(encoded[4 : 4 + 2 * LEAST])
    return found
