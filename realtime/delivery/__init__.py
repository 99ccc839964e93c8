"""Room 3, towards browsers: the hub hears of entries, a session decides, a transport carries.

One way through it, from bottom to top of what may import what::

    envelope, run                 frames both ways; entries that came together and their wire forms
    outbox, limits, session       pure: no asyncio, no Django, the time is an argument
    connection                    one session joined to one transport
    hub, admission                one a process: the layer, the database's heads; who are you, may you
    websocket, http               the doors
    routing, daphne               the composition, and our own server
"""
