"""Records of trainings in Weights & Biases."""

from typing import Any

from equiprop.training.callbacks._callback import Plan
from equiprop.training.callbacks._tracker import Tracker, has_failed, hyperparameters, run_name, was_interrupted


class WandB(Tracker):
    """Tells Weights & Biases. The run has the name of the run directory; a training that goes on goes on with the same run.

    It is a run of its own beside others of the process, and `wandb.log` does not reach it; `tracker.run` is it.

    **Arguments:**

    - `project`: to which it belongs.
    - `mode`: `"online"`, `"offline"` or `"disabled"`; by default what the environment says (`WANDB_MODE`).
    - `options`: further arguments of `wandb.init`, such as `entity`, `group`, `tags` or `name`.

    Raises `InputError` if wandb is not installed (`pip install equiprop[wandb]`).
    """

    package = "wandb"
    extra = "wandb"
    # It prints on standard error, and listens to what is printed on standard output.
    redirected = False

    def __init__(self, project: str = "equiprop", mode: str | None = None, **options: Any) -> None:
        super().__init__()
        self.project, self.mode, self.options = project, mode, options
        self.run: Any = None

    @property
    def title(self) -> str:
        return f"WandB({self.project!r})"

    def start(self, plan: Plan) -> None:
        import wandb

        given: dict[str, Any] = {"name": run_name(plan), "resume": "allow", "reinit": "create_new"}
        if self.record:
            given["id"] = self.record
        if self.quiet:
            given["settings"] = {"silent": True}
        options = given | self.options
        config = hyperparameters(plan.settings) | dict(options.pop("config", None) or {})
        self.run = wandb.init(project=self.project, mode=self.mode, config=config, **options)  # pyright: ignore[reportArgumentType]
        self.record = self.run.id

    def log(self, metrics: dict[str, float], epoch: int) -> None:
        # Without `commit` an epoch would be shown when the next one has ended.
        self.run.log(metrics, step=epoch, commit=True)

    def finish(self, reason: str) -> None:
        self.run.finish(exit_code=1 if has_failed(reason) else 130 if was_interrupted(reason) else 0)
