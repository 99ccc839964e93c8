"""The pages' addresses, grouped by what they show."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from dashboard import accounts, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("devices/", views.devices, name="devices"),
    path("devices/<str:device_id>/", views.device_by_id, name="device-by-id"),
    path("devices/<str:org_id>/<str:device_id>/", views.device, name="device"),
    path("archives/", views.archives, name="archives"),
    path("organization/", views.organization, name="organization"),
    path("organization/active/", views.switch_organization, name="switch-organization"),
    path("connection/", views.connection, name="connection"),
    path("accounts/login/", accounts.SignIn.as_view(), name="sign-in"),
    path("accounts/logout/", LogoutView.as_view(), name="sign-out"),
    path("admin/login/", accounts.admin_sign_in),
]
