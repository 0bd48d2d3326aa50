"""The local history of sessions: what was said of whom, when, and with what; no faces unless they are asked for.

Snapshot -> SessionRecorder -> HistoryWriter (a thread, a bounded queue) -> SQLite -> History -> list, report, file
"""
