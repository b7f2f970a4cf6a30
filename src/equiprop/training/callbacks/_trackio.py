"""Records of trainings in Trackio."""

import secrets
from typing import Any

from equiprop.training.callbacks._callback import Plan
from equiprop.training.callbacks._tracker import Tracker, hyperparameters, run_name


class Trackio(Tracker):
    """Tells Trackio, which keeps what it is told in a folder (`TRACKIO_DIR`); `trackio show --project PROJECT` shows it.

    The run has the name of the run directory and six letters, by which a training that goes on finds it again.

    **Arguments:**

    - `project`: to which it belongs.
    - `options`: further arguments of `trackio.init`, such as `space_id`, `group` or `name`.

    Raises `InputError` if trackio is not installed (`pip install equiprop[trackio]`).
    """

    package = "trackio"
    extra = "trackio"

    def __init__(self, project: str = "equiprop", **options: Any) -> None:
        super().__init__()
        self.project, self.options = project, options
        self.run: Any = None

    @property
    def title(self) -> str:
        return f"Trackio({self.project!r})"

    def start(self, plan: Plan) -> None:
        import trackio

        name = run_name(plan)
        # Trackio knows a run by its name, and two run directories may have the same.
        new = {"name": name and f"{name}-{secrets.token_hex(3)}", "resume": "never"}
        given = {"name": self.record, "resume": "allow"} if self.record else new
        options: dict[str, Any] = given | self.options
        config = hyperparameters(plan.settings) | dict(options.pop("config", None) or {})
        self.run = trackio.init(project=self.project, config=config, **options)
        self.record = self.run.name

    def log(self, metrics: dict[str, float], epoch: int) -> None:
        self.run.log(metrics, step=epoch)

    def finish(self, reason: str) -> None:
        import trackio
        from trackio import context_vars

        del reason
        # What Trackio takes for the current run at the end of the process it finishes then, and says so on standard output.
        if context_vars.current_run.get() is self.run:
            trackio.finish()
        else:
            self.run.finish()
