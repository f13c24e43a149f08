"""How it looks to a person: live progress, tables, errors. The only place that prints."""

from boxwright.console.checks_view import CheckResult, show_checks
from boxwright.console.console import Console
from boxwright.console.handover import Handover
from boxwright.console.plan_view import render_plan
from boxwright.console.run_view import RunView

__all__ = ["CheckResult", "Console", "Handover", "RunView", "render_plan", "show_checks"]
