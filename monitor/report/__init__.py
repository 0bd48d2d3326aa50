"""Reports for people: a session of the history, or the analysis of a recording, as one page with plots.

Session or unmask.analysis/1 -> Report -> HTML (one file, no outside request), or PDF (gui/report_pdf.py)
"""
