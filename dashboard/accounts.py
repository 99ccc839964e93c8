"""Sign-in and sign-out of local accounts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import views

from dashboard import demo
from dashboard.forms import SignInForm


class SignIn(views.LoginView):
    """A local account's form; axes throttles it."""

    template_name = "registration/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        accounts = demo.ACCOUNTS if settings.DEMO else ()
        return super().get_context_data(**kwargs) | {"demo_accounts": accounts, "demo_password": demo.PASSWORD}
