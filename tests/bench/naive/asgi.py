"""The web side of the naive peer: one consumer a socket, and a page that shows what comes."""

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

PAGE = """<!doctype html><title>Naive</title><ul id="list"></ul><script>
const socket = new WebSocket(`ws://${location.host}/ws/`);
socket.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  const id = `${event.eventType} ${event.deviceId ?? event.archiveId ?? event.orgId}`;
  let row = document.getElementById(id);
  if (!row) { row = list.appendChild(document.createElement("li")); row.id = id; }
  row.textContent = data;
};
</script>"""


class DeviceConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close()
            return
        self.group = f"user_{user.pk}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def device_event(self, event):
        await self.send_json(event["payload"])


def page(request):
    return HttpResponse(PAGE)


urlpatterns = [path("", page)]
application = ProtocolTypeRouter(
    {"http": pages, "websocket": AuthMiddlewareStack(URLRouter([path("ws/", DeviceConsumer.as_asgi())]))}
)
