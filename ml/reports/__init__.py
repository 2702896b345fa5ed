"""Report of a model version: one HTML page that opens offline, in a light and a dark scheme.

::

    facts.py             ReportFacts: content of a report
    expectations.py      what to expect of the served model
    advice.py            three answers to a user's questions, and warnings
    session_plots.py     scores of each session with the threshold
    drawing.py           figures as SVG inside a page
    evaluation_plots.py  figures of training and evaluation
    group_plots.py       figures of the fault groups
    recording_plots.py   spectrograms and players of example recordings
    formatting.py        numbers and facts as text
    page.py              the page

matplotlib and jinja2 come with the extra "train". They are imported when a report is written.
"""
