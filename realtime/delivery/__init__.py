"""Room 3, towards browsers: the hub hears of entries, a session decides, a transport carries.

One way through it, from bottom to top of what may import what::

    envelope, run                 frames both ways; entries that came together and their wire forms
    limits, outbox, continuity    pure: how much, what waits, what is missing
    session                       pure: one client's feed, made of these
    transports                    how frames reach a client: straight to its socket, or as ASGI messages
    connection                    one session joined to one transport
    batch, admission              who are you, may you come in; asked together
    listening, state, hub         one a process: the layer, the whole state, the database's heads
    websocket, http               the doors
    routing, daphne               the composition, and our own server
"""
