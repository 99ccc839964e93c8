"""What staff may do in the admin: look after people, and operate links."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from dashboard.models import User
from dashboard.operations import LinkAdmin
from realtime.models import Link

admin.site.site_header = "Fleetlight operations"
admin.site.site_title = "Fleetlight operations"
admin.site.index_title = "Which hop is broken"
admin.site.site_url = "/"
admin.site.enable_nav_sidebar = False


@admin.register(User)
class PersonAdmin(UserAdmin):
    list_display = ("username", "first_name", "subject", "is_staff", "is_active", "last_login")
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Upstream", {"fields": ("subject", "organization")}))


admin.site.register(Link, LinkAdmin)
