"""People in the admin, and one sign-in for pages and admin alike."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.decorators import login_required

from dashboard.models import User

admin.site.site_header = "Fleetlight operations"
admin.site.site_title = "Fleetlight operations"
admin.site.index_title = "Which hop is broken"
admin.site.site_url = "/"
# The admin's own form would sign in without fetching upstream credentials, and unthrottled by our words.
admin.site.login = login_required(admin.site.login)


@admin.register(User)
class PersonAdmin(UserAdmin):
    list_display = ("username", "first_name", "subject", "is_staff", "is_active", "last_login")
    fieldsets = (*UserAdmin.fieldsets, ("Upstream", {"fields": ("subject",)}))
