"""The pages' addresses. The live doors and the probes stand before Django: see `project/asgi.py`."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("dashboard.urls")),  # first: it has the admin's sign-in too
    path("admin/", admin.site.urls),
]
