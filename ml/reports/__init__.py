"""What is known of a model version as one HTML page, which opens offline, in the light and in the dark.

::

    facts.py        ReportFacts: all that a page is made of
    drawing.py      a figure as SVG inside a page
    group_plots.py  the groups of faults
    skill_plots.py  training and evaluation
    sound_plots.py  recordings to look at and listen to
    tables.py       figures and facts as text
    page.py         the page

matplotlib and jinja2 come with the extra "train" and are imported when a report is written.
"""
