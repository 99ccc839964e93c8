"""Forms of the pages."""

from __future__ import annotations

from typing import cast

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.http import QueryDict

from dashboard import fleet

ARCHIVE_STATES = ["Queued", "Processing", "Ready", "Failed", "Expired"]


class SignInForm(AuthenticationForm):
    """Django's own; also takes the name as `login`, as some clients send it."""

    def __init__(self, request=None, *args, data: QueryDict | None = None, **kwargs):
        if data is not None and "username" not in data and "login" in data:
            data = data.copy()
            data.setlist("username", data.getlist("login"))
        super().__init__(request, *args, data=data, **kwargs)


class DeviceFilter(forms.Form):
    """Every filter stands in the address; a value that is not offered filters nothing."""

    q = forms.CharField(label="Search", required=False, max_length=80)
    status = forms.ChoiceField(
        label="State",
        choices=[("", "Any state"), *((word, status.label) for word, status in fleet.STATUSES.items())],
        required=False,
    )
    site = forms.ChoiceField(label="Site", required=False)
    sort = forms.ChoiceField(
        label="Sort by",
        choices=[(word, order.label) for word, order in fleet.ORDERS.items()],
        required=False,
    )

    def __init__(self, data, sites):
        super().__init__(data)
        cast(forms.ChoiceField, self.fields["site"]).choices = [
            ("", "All sites"),
            *((site, site) for site in sites if site),
        ]

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        return self.cleaned_data


class ArchiveFilter(forms.Form):
    q = forms.CharField(label="Search", required=False, max_length=80)
    state = forms.ChoiceField(
        label="State",
        choices=[("", "Any state"), *((word, word) for word in ARCHIVE_STATES)],
        required=False,
    )

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        return self.cleaned_data
