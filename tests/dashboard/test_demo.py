from dashboard import demo
from dashboard.models import User


def test_seeding_again_changes_nothing(people):
    before = list(User.objects.order_by("pk").values())
    demo.seed()
    assert list(User.objects.order_by("pk").values()) == before


def test_an_account_that_was_changed_is_brought_back(people):
    people.viewer.set_password("something else")
    people.viewer.is_staff = True
    people.viewer.save()
    demo.seed()
    viewer = User.objects.get(username="viewer")
    assert viewer.check_password(demo.PASSWORD)
    assert not viewer.is_staff


def test_only_the_operator_may_operate(people):
    assert people.operator.has_perm("realtime.operate_link")
    assert people.operator.has_perm("realtime.view_gap")
    assert not people.operator.has_perm("realtime.change_link")
    assert not people.owner.has_perm("realtime.operate_link")
