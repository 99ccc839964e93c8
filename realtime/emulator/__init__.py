"""A local AppSync: Events, GraphQL, a token issuer and the backend behind them, which can misbehave at every level.

It needs no database and no Valkey, and knows nothing of the engine but the rules of channel names.

    server ── http ── websocket ── session ── events | graphql    the wire, port to dialect
    auth, sigv4, issuer, oauth, rate                          who is calling, and may they
    broker, publishing, graphql_schema, delivery              who gets what, and its way out
    world ── seed, mover, journal ── fleet ── snapshot        the truth that is told
    faults, control, transcript                               how tests steer and observe it

What it imitates was learned from documentation, public clients and their test suites. Agreement with it is not
agreement with AWS.
"""
