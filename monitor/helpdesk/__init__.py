"""Identity checks on helpdesk calls: challenges, the light probe, the case and its record. Logic without a server.

case (who may do what, when) -> challenges, light probe -> record (hash-chained, signed)
"""
