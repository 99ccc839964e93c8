"""A link's life: one connection kept alive by a pure core (``step``) and a thin shell around it (``manager``).

``states`` are the tables, ``model`` the values, ``policy`` the numbers, ``clock`` the time, ``transport`` the socket,
``connection`` one session on it, ``subscriptions`` what it is to hear, ``credentials`` and ``http`` what it needs.

A ``publisher`` has no link: it makes requests over ``publish_http`` or ``publish_socket``, at a ``pace``.
"""
