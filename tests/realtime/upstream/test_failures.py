"""What the end of a connection means, as AppSync needs it and as other services mean it."""

import pytest

from realtime.upstream.failures import Verdict, appsync, general
from realtime.upstream.model import Cause

CODES = [None, 1000, 1001, 1002, 1006, 1008, 1009, 1011, 1012, 3500, 4400, 4999]


@pytest.mark.feature("S0.2")
@pytest.mark.parametrize("code", CODES)
def test_no_close_code_of_appsync_means_anything_but_try_again(code):
    assert appsync(Cause("closed by the service", code=code)) is Verdict.TRANSIENT


@pytest.mark.parametrize("judge", [appsync, general])
@pytest.mark.parametrize(("status", "verdict"), [(401, Verdict.AUTH), (403, Verdict.AUTH), (503, Verdict.TRANSIENT)])
def test_a_refused_upgrade_is_about_credentials_if_it_says_so(judge, status, verdict):
    assert judge(Cause("HTTP", status=status)) is verdict


@pytest.mark.parametrize("status", [400, 404, 426])
def test_only_other_services_mean_for_good_what_they_refuse(status):
    assert appsync(Cause("HTTP", status=status)) is Verdict.TRANSIENT
    assert general(Cause("HTTP", status=status)) is Verdict.FATAL


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (1000, Verdict.TRANSIENT),
        (1002, Verdict.FATAL),
        (1008, Verdict.AUTH),
        (1011, Verdict.TRANSIENT),
        (1013, Verdict.TRANSIENT),
        (3500, Verdict.FATAL),
        (3999, Verdict.FATAL),
        (4000, Verdict.TRANSIENT),
    ],
)
def test_other_services_mean_their_close_codes(code, verdict):
    assert general(Cause("closed", code=code)) is verdict
