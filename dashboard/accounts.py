"""Sign-in and sign-out of local accounts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from dashboard import demo
from dashboard.forms import SignInForm
from realtime import credentials


class SignIn(views.LoginView):
    """A local account's form; axes throttles it. The same password gets the person's upstream tokens.

    Whose upstream tokens can't be had is signed in all the same: what was recorded is still theirs to see, and
    they are told why it is not live.
    """

    template_name = "registration/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        problem = credentials.sign_in(form.get_user(), form.cleaned_data["username"], form.cleaned_data["password"])
        if problem:
            messages.warning(self.request, f"You are signed in here, but not upstream: {problem}.")
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        accounts = demo.ACCOUNTS if settings.DEMO else ()
        return super().get_context_data(**kwargs) | {"demo_accounts": accounts, "demo_password": demo.PASSWORD}


def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """One form for pages and admin alike; for whoever is signed in without being staff, a plain no."""
    if request.user.is_authenticated:
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", reverse("admin:index")))
