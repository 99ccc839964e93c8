"""The upstream side of the naive peer: a link per user, each copy decoded with json and sent to the user's group."""

import asyncio
import json
import os
from base64 import urlsafe_b64encode
from urllib.parse import urlsplit

import django
import httpx
import websockets


async def main(users):
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    async with httpx.AsyncClient(trust_env=False) as client:
        tokens = {subject: await token(client, subject) for subject in users}
    ready = asyncio.Barrier(len(users) + 1)
    links = [asyncio.create_task(link(layer, pk, subject, tokens[subject], ready)) for subject, pk in users.items()]
    await ready.wait()
    print("subscribed", flush=True)
    await asyncio.gather(*links)


async def token(client, subject):
    answer = await client.post(os.environ["BENCH_TOKEN_URL"], json={"sub": subject})
    return answer.raise_for_status().json()["id_token"]


async def link(layer, pk, subject, id_token, ready):
    from realtime.feeds import channels

    url = os.environ["BENCH_REALTIME_URL"]
    authorization = {"host": urlsplit(url).netloc, "Authorization": id_token}
    header = urlsafe_b64encode(json.dumps(authorization).encode()).decode().rstrip("=")
    protocols = ["aws-appsync-event-ws", f"header-{header}"]
    async with websockets.connect(url, subprotocols=protocols, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        for number, channel in enumerate(channels("vortex-app", subject).values()):
            request = {"type": "subscribe", "id": f"s{number}", "channel": channel, "authorization": authorization}
            await socket.send(json.dumps(request))
        answers = 0
        while answers < 9:
            frame = json.loads(await socket.recv())
            assert "errors" not in frame, frame
            answers += frame["type"] == "subscribe_success"
        await ready.wait()
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "data":
                await copy(layer, pk, json.loads(frame["event"]))


async def copy(layer, pk, event):
    if os.environ["BENCH_SAVES"]:
        from tests.bench.naive.models import Newest

        entity = event.get("deviceId") or event.get("archiveId") or ""
        await Newest.objects.aupdate_or_create(
            entity=f"{event['orgId']}/{entity}", feed=event["eventType"], defaults={"payload": event}
        )
    await layer.group_send(f"user_{pk}", {"type": "device.event", "payload": event})


def people():
    from django.contrib.auth.models import User

    return dict(User.objects.values_list("username", "pk"))


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(people()))
