"""The engine: it brings changes from AWS AppSync to browsers, and loses none in silence.

The way of an event, one module a step::

    AppSync ── upstream.transport ── appsync.session ── upstream.connection ── keeper ── bridge ── decoding
            ── the product's recorder + feed (one transaction) ── relay ── Valkey stream + group
            ── delivery.hub ── delivery.session ── delivery.websocket | delivery.http ── the browser

Rooms:
    appsync     the wire of AppSync, without I/O: text and the time go in, events and text to send come out
    upstream    asyncio: one connection manager a link, which says when to dial and when to wait
    delivery    towards browsers: sessions with a cursor, a bounded outbox, one hub a process
    emulator    a local AppSync that can misbehave at every level

Beside them stand the modules where the rooms meet. `worker` follows what is `wanted` of links, a `keeper` looks after
one of them, `bridge` is where all of them meet the database. What the engine needs from a product (what is recorded,
who may see it) is in `product`.
"""
