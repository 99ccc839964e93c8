from realtime.token_bucket import TokenBucket


def test_a_bucket_lets_a_burst_through_and_then_the_rate():
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.take(10) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(10.5) == 0
    assert bucket.take(10.5) == 0.5


def test_a_bucket_holds_no_more_than_its_burst():
    bucket = TokenBucket(rate=2, burst=3)
    bucket.take(0)
    assert [bucket.take(1000) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_clock_that_goes_back_takes_nothing_away():
    bucket = TokenBucket(rate=2, burst=3)
    bucket.take(1000)
    assert bucket.take(10) == 0
