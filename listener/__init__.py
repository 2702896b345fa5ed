"""Live listening: sources, capture, clips, verdicts, events and alerts.

``signalml listen`` runs it as a process of its own. The API reads its files and asks it over a local socket.
"""
