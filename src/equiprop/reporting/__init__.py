"""Run directories read back: the comparison table, the figures, one self-contained HTML page, and all of them as a table of SQL.

    runs = ep.reporting.find_runs("runs")
    ep.reporting.write_report(runs, "report.html")
    best = ep.reporting.query_runs("runs", where="test_error_percent < 5", sort="estimator.nudge").runs

Needs nothing but the files of a run, and never JAX.
"""

from equiprop.reporting._canvas import Curve as Curve
from equiprop.reporting._canvas import Map as Map
from equiprop.reporting._canvas import Panel as Panel
from equiprop.reporting._canvas import draw as draw
from equiprop.reporting._canvas import draw_png as draw_png
from equiprop.reporting._differences import Difference as Difference
from equiprop.reporting._differences import differences as differences
from equiprop.reporting._figures import Picture as Picture
from equiprop.reporting._figures import converged_figure as converged_figure
from equiprop.reporting._figures import cosine_figure as cosine_figure
from equiprop.reporting._figures import cost_figure as cost_figure
from equiprop.reporting._figures import norm_ratio_figure as norm_ratio_figure
from equiprop.reporting._figures import pictures as pictures
from equiprop.reporting._figures import symmetry_figure as symmetry_figure
from equiprop.reporting._figures import training_figure as training_figure
from equiprop.reporting._means import STD as STD
from equiprop.reporting._means import mean_of as mean_of
from equiprop.reporting._means import mean_of_summaries as mean_of_summaries
from equiprop.reporting._means import means_of as means_of
from equiprop.reporting._page import html_report as html_report
from equiprop.reporting._page import write_report as write_report
from equiprop.reporting._query import RunTable as RunTable
from equiprop.reporting._query import Selection as Selection
from equiprop.reporting._query import query_runs as query_runs
from equiprop.reporting._run import CHECKPOINTS as CHECKPOINTS
from equiprop.reporting._run import CONFIG as CONFIG
from equiprop.reporting._run import CONFUSION as CONFUSION
from equiprop.reporting._run import MANIFEST as MANIFEST
from equiprop.reporting._run import METRICS as METRICS
from equiprop.reporting._run import REPORT as REPORT
from equiprop.reporting._run import SUMMARY as SUMMARY
from equiprop.reporting._run import Run as Run
from equiprop.reporting._run import find_runs as find_runs
from equiprop.reporting._run import in_todays_names as in_todays_names
from equiprop.reporting._run import read_run as read_run
from equiprop.reporting._run import read_runs as read_runs
from equiprop.reporting._table import COLUMNS as COLUMNS
from equiprop.reporting._table import Cell as Cell
from equiprop.reporting._table import Column as Column
from equiprop.reporting._table import Row as Row
from equiprop.reporting._table import comparison_rows as comparison_rows
from equiprop.reporting._values import extreme as extreme
from equiprop.reporting._values import flatten as flatten
