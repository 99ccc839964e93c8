"""The wire, sans-I/O: what AppSync says and hears, without a socket, a clock or a log.

``endpoint`` and ``auth`` say where and as whom, ``channels`` what a channel may be called, ``messages`` spells the
frames, ``events_session`` holds the state of one connection, ``states`` its tables, ``exceptions`` its errors.
"""
