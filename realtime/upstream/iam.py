"""AWS credentials from wherever botocore finds them: environment, profile, container, instance role.

They are asked for at every connect, because those of a role last an hour or so; botocore refreshes them itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

from realtime.appsync.auth import Authorization, Iam
from realtime.upstream.credentials import TokenUnavailable


class IamCredentials:
    """As upstream.credentials.Credentials, for ``APPSYNC_AUTH=iam``."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._chain: Any = None

    async def get(self, *, refresh: bool = False) -> Authorization:
        """Return what signs with the current credentials; with ``refresh``, look for them anew where they are kept."""
        if refresh:
            self._chain = None
        return await asyncio.to_thread(self._frozen)

    async def close(self) -> None:
        """There is nothing under way."""

    def _frozen(self) -> Iam:
        # Imported here: it takes over a second, and only this mode needs it.
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            if self._chain is None:
                self._chain = Session().get_credentials()
            found = self._chain.get_frozen_credentials() if self._chain is not None else None
        except BotoCoreError as error:
            raise TokenUnavailable(f"AWS credentials can't be had: {error}") from None
        if found is None:
            raise TokenUnavailable("there are no AWS credentials: set AWS_ACCESS_KEY_ID, a profile, or a role")
        return Iam(found.access_key, found.secret_key, self._region, found.token)
