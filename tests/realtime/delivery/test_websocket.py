async def test_a_session_is_greeted_and_hears_what_happens(browser, viewer, writer):
    topic = f"user.{viewer.pk}"
    async with browser.socket() as socket:
        hello = await socket.next()
        await writer.online(topic, 1)
        event = await socket.of_type("event")
    assert hello["type"] == "hello"
    assert hello["user"] == viewer.pk
    assert set(hello["topics"]) == {topic, "broadcast"}
    assert event["topic"] == topic
    assert event["offset"] == hello["topics"][topic]["offset"] + 1
    assert event["fields"]["online"][0] is True
    assert event["at"]["relayed"] >= event["at"]["recorded"]
