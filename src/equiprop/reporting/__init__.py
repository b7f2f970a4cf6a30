"""Run directories and studies read back: the comparison table, the figures, one self-contained HTML page, runs as a table of SQL.

    runs = ep.reporting.find_runs("runs")
    ep.reporting.write_report(runs, "report.html")
    best = ep.reporting.query_runs("runs", where="test_error_percent < 5", sort="estimator.nudge").runs

Needs nothing but the files of a run, and never JAX.
"""

from equiprop.reporting._canvas import LIGHT as LIGHT
from equiprop.reporting._canvas import Curve as Curve
from equiprop.reporting._canvas import Map as Map
from equiprop.reporting._canvas import Panel as Panel
from equiprop.reporting._canvas import draw as draw
from equiprop.reporting._canvas import draw_png as draw_png
from equiprop.reporting._chart import Chart as Chart
from equiprop.reporting._charts import charts as charts
from equiprop.reporting._confusion import CONFUSION as CONFUSION
from equiprop.reporting._confusion import Confusion as Confusion
from equiprop.reporting._confusion import Mistake as Mistake
from equiprop.reporting._differences import Difference as Difference
from equiprop.reporting._differences import differences as differences
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
from equiprop.reporting._run import MANIFEST as MANIFEST
from equiprop.reporting._run import METRICS as METRICS
from equiprop.reporting._run import REPORT as REPORT
from equiprop.reporting._run import SUMMARY as SUMMARY
from equiprop.reporting._run import Run as Run
from equiprop.reporting._run import find_runs as find_runs
from equiprop.reporting._run import in_todays_names as in_todays_names
from equiprop.reporting._run import read_run as read_run
from equiprop.reporting._run import read_runs as read_runs
from equiprop.reporting._study import STUDY as STUDY
from equiprop.reporting._study import STUDY_SETTINGS as STUDY_SETTINGS
from equiprop.reporting._study import PrintedTable as PrintedTable
from equiprop.reporting._study import Study as Study
from equiprop.reporting._study import Walk as Walk
from equiprop.reporting._study import is_study as is_study
from equiprop.reporting._study import read_study as read_study
from equiprop.reporting._table import COLUMNS as COLUMNS
from equiprop.reporting._table import Cell as Cell
from equiprop.reporting._table import Column as Column
from equiprop.reporting._table import Row as Row
from equiprop.reporting._table import comparison_rows as comparison_rows
from equiprop.reporting._values import extreme as extreme
from equiprop.reporting._values import flatten as flatten
