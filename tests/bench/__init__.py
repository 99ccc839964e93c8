"""How fast Fleetlight is, measured beside peers that do the same work in a plainer way. ``make bench`` runs it.

Only ratios within one run mean anything: a machine that does something else meanwhile changes every absolute figure.
Everything runs on the loopback interface, on parts as real as the demo's, and ends within minutes.
"""
